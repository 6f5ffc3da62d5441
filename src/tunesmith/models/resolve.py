"""Finds the folder of a model by its name; every model is found here.

The order is: a run of tunesmith, a local folder or GGUF file, the local Hub cache, the Hub (unless offline), a
packaged copy. The weights must be safetensors or GGUF, without code. `auto_map` means that Python code from the
repository would run, and a pickled file can run any code when it is read, so both are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith._telemetry import import_huggingface_hub
from tunesmith.errors import ModelError
from tunesmith.models.gguf import converted, is_gguf
from tunesmith.models.packaged import how_to_install, packaged_folder
from tunesmith.models.untrusted import (
    refuse_impossible_adapter,
    refuse_impossible_sizes,
    refuse_links,
    refuse_shards_elsewhere,
)
from tunesmith.process import is_offline
from tunesmith.run import write_atomically

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

# The files that a model needs; none of them is code.
_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "README.md", "LICENSE*"]
ADAPTER_FILE = "adapter_config.json"
"""File that only a folder with an adapter has."""
ADAPTED_CONFIG_FILE = "adapted_model_config.json"
"""File with the config of the adapted model; under its usual name, tools would expect whole weights beside it."""
MEMORY_FILE = "from_memory.json"
"""File that only a folder with a model from a program's memory has (see `in_memory`)."""

_PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt", "*.h5", "*.msgpack")


@dataclass(frozen=True)
class ModelFiles:
    """A model's folder.

    Args:
        name: name that the user gave.
        path: folder of the files.
        origin: description of where the model was found.
        kind: `run`, `folder`, `memory`, `gguf`, `cache`, `hub` or `package`.
        stored: the type of most weights in the GGUF file that the folder was made from: `Q4_1`; else empty.
    """

    name: str
    path: Path
    origin: str
    kind: str = "folder"
    stored: str = ""

    def config(self) -> JsonObject:
        """The content of `config.json`, or of the file that replaces it beside an adapter."""
        return dict(json.loads(config_file(self.path).read_text(encoding="utf-8")))


def config_file(folder: Path) -> Path:
    """The file with the config in a model's folder."""
    adapted = folder / ADAPTED_CONFIG_FILE
    return adapted if adapted.is_file() else folder / "config.json"


def _say_nothing(text: str) -> None:
    pass


def resolve_model(
    name: str, tell: Callable[[str], None] = _say_nothing, *, download: bool = True
) -> ModelFiles:
    """Finds a model and checks that it is safe to load.

    Args:
        name: Hub id, local folder, GGUF file, or run folder.
        tell: called with a sentence when a GGUF file must be read first, which takes a while.
        download: whether the Hub is asked for what is not on this machine.

    Raises:
        ModelError: the model is not found (the message lists what was tried), or it is refused.
    """
    local = Path(name).expanduser()
    if (local / "manifest.json").is_file() and (local / "model").is_dir():
        return _checked(ModelFiles(name, local / "model", f"the run {local}", "run"))
    if (local / MEMORY_FILE).is_file():
        return _checked(ModelFiles(name, local, f"a model from memory, saved in {local}", "memory"))
    if local.is_dir():
        return _checked(ModelFiles(name, local, f"the folder {local}"))
    if is_gguf(local):
        made = converted(local, tell)
        return _checked(ModelFiles(name, made.folder, f"the file {local}{made.note}", "gguf", made.stored))
    tried = [f"the folder {local}: not there"]
    places = [("the local Hub cache", "cache", _from_cache), ("the Hub", "hub", _from_hub)]
    for source, kind, find in places if download else places[:1]:
        path, found = find(name)
        if path is not None:
            return _checked(ModelFiles(name, path, found, kind))
        tried.append(f"{source}: {found}")
    path, found, stored = packaged_folder(name, tell)
    if path is not None:
        return _checked(ModelFiles(name, path, found, "package", stored))
    tried.append(f"packaged copies: {found}")
    listed = "\n".join(f"  - {line}" for line in tried)
    raise ModelError(
        f"the model `{name}` is not found:\n{listed}",
        remedy=f"{how_to_install(name)}Give a folder with config.json and model.safetensors, or a Hub id "
        "while the Hub can be reached." + (_DOWNLOAD.format(name=name) if _is_hub_id(name) else ""),
    )


_DOWNLOAD = " To get it, run `hf download {name}` with a network, without HF_HUB_OFFLINE."


def cached_models() -> list[str]:
    """The ids of the models in the local Hub cache that have weights in safetensors."""
    folder = Path(import_huggingface_hub().constants.HF_HUB_CACHE)
    found = {path.parents[2].name for path in folder.glob("models--*/snapshots/*/*.safetensors")}
    return sorted(name.removeprefix("models--").replace("--", "/") for name in found)


def _is_hub_id(name: str) -> bool:
    """Whether a name has the form of a Hub id, and not of a path."""
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", name)) and not name.startswith(".")


def _from_cache(name: str) -> tuple[Path | None, str]:
    huggingface_hub = import_huggingface_hub()
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        path = Path(huggingface_hub.snapshot_download(name, local_files_only=True, allow_patterns=_WANTED))
    except HFValidationError:
        return None, "not a Hub id"
    except (LocalEntryNotFoundError, OSError):
        return None, "not there"
    if not _weights(path):
        return None, "there, but without weights in safetensors"
    return path, "the local Hub cache"


def _from_hub(name: str) -> tuple[Path | None, str]:
    if is_offline():
        return None, "switched off by HF_HUB_OFFLINE"
    huggingface_hub = import_huggingface_hub()
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        # One commit for all files, though somebody may add another one meanwhile.
        commit = str(huggingface_hub.HfApi().model_info(name).sha)
        path = Path(huggingface_hub.snapshot_download(name, revision=commit, allow_patterns=_WANTED))
        # The cache finds a model by this file: without it, a download that breaks off is not there.
        write_atomically(path.parents[1] / "refs" / "main", commit)
        return path, "the Hub"
    except HFValidationError:
        return None, "not a Hub id"
    except LocalEntryNotFoundError:
        return None, "not reachable"
    except (HfHubHTTPError, OSError) as error:
        return None, str(error).splitlines()[0]


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _checked(files: ModelFiles) -> ModelFiles:
    refuse_links(files.path)
    _refuse_without_model(files)
    _refuse_code(files)
    refuse_shards_elsewhere(files.path)
    if (files.path / ADAPTER_FILE).is_file():
        refuse_impossible_adapter(files.path)
    else:
        refuse_impossible_sizes(config_file(files.path), _weights(files.path))
    return files


def _refuse_without_model(files: ModelFiles) -> None:
    if not config_file(files.path).is_file():
        raise ModelError(
            f"a model's folder must have a config.json, and `{files.path}` has none.",
            remedy="Give the folder that `save_pretrained` wrote, or a run folder.",
        )
    if _weights(files.path):
        return
    pickled = sorted(p.name for pattern in _PICKLED for p in files.path.glob(pattern))
    if pickled:
        raise ModelError(
            f"the weights of `{files.name}` are pickled (`{pickled[0]}`); reading a pickle can run any code.",
            remedy="Use a revision with model.safetensors, or convert the file in your own sandbox.",
        )
    raise ModelError(
        f"a model's folder must have weights in safetensors, and `{files.path}` has none.",
        remedy="Give the folder that `save_pretrained` wrote.",
    )


def _refuse_code(files: ModelFiles) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        path = files.path / name
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelError(f"not JSON: {error}.", location=str(path), remedy="Fix the file.") from None
        if "auto_map" in content:
            raise ModelError(
                f"`{files.name}` contains Python code (`auto_map`), which would run here.",
                location=str(path),
                remedy="Choose a model whose architecture is part of transformers; remote code never runs.",
            )
