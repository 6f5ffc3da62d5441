"""The base model of a run: where it was found, its revision, and SHA-256 checksums of its files.

A name is not enough: a folder can be overwritten, and a branch of the Hub moves. The checksum of a gigabyte takes
about a second, and the weights are read anyway.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import RunError
from tunesmith.models.adapters import is_adapter
from tunesmith.models.loading import adapter_base
from tunesmith.models.resolve import ADAPTED_CONFIG_FILE, ADAPTER_FILE, ModelFiles, resolve_model
from tunesmith.run import sha256_of

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

# These files decide what a model computes; a folder may have others.
_DECISIVE = (
    "*.safetensors", "*.model", "*.jinja", "config.json", "generation_config.json", ADAPTER_FILE,
    ADAPTED_CONFIG_FILE, "tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt",
)  # fmt: skip


def identify(files: ModelFiles) -> JsonObject:
    """The manifest's entry of a base model: `found_in`, `revision` (of the Hub, else None), `sha256` by file.

    `stored` is the type of the weights in the GGUF file that the model was read from, where there is one.
    """
    found = {
        "found_in": files.kind,
        "revision": files.path.name if files.path.parent.name == "snapshots" else None,
        "sha256": {path.name: sha256_of(path) for path in _decisive(files.path)},
    }
    if files.stored:
        found["stored"] = files.stored
    if is_adapter(files.path):
        found["base"] = identify(resolve_model(adapter_base(files)))
    return found


def refuse_changed_model(name: str, before: JsonObject, now: JsonObject) -> None:
    """Stops a run that would resume with another base model than before.

    Args:
        name: name of the base model.
        before: result of `identify` when the run began; empty in the manifest of an older version.
        now: result of `identify` now.

    Raises:
        RunError: the base model differs; the message names the difference.
    """
    if "sha256" not in before:
        return
    changed = _differences(before, now)
    if changed:
        raise RunError(
            f"the base model `{name}` has changed since the run began: {', '.join(changed)}.",
            remedy="Put its files back, choose another `output_dir`, or give `--force` to train anew.",
        )


def _decisive(folder: Path) -> list[Path]:
    return sorted({path for pattern in _DECISIVE for path in folder.glob(pattern) if path.is_file()})


def _differences(before: JsonObject, now: JsonObject) -> list[str]:
    then, today = before["sha256"], now["sha256"]
    changed = [f"{file} is another" for file in today if file in then and then[file] != today[file]]
    changed += [f"{file} is gone" for file in then if file not in today]
    changed += [f"{file} is new" for file in today if file not in then]
    if changed and before.get("revision") != now.get("revision"):
        changed.append(f"revision {before.get('revision')} became {now.get('revision')}")
    if "base" in before and "base" in now:
        changed += [f"of its own base model, {what}" for what in _differences(before["base"], now["base"])]
    return changed
