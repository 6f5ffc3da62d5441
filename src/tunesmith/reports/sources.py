"""Names of data sources and models in documents, without their folders. The files of a run hold no passwords."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_SHOWN = 3


def named_sources(sources: Sequence[str]) -> str:
    """`train.csv, more.csv`; after the third only how many there are."""
    names = [_short(source) for source in sources]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def is_local_model(manifest: JsonObject) -> bool:
    """Whether the base model is a folder, a run or an object, and no name that others know."""
    name: str = manifest["used"]["model"]
    is_path = name.startswith(("/", ".", "~", "memory:")) or "\\" in name or name.count("/") > 1
    return is_path or manifest.get("model", {}).get("found_in") in ("folder", "run", "memory", "gguf")


def named_model(manifest: JsonObject) -> str:
    """The name of the base model; of a local one without its folders."""
    name: str = manifest["used"]["model"]
    return _short(name) if is_local_model(manifest) else name


def _short(source: str) -> str:
    """The last part of a path; a name of another kind (`hub:…`, `https://…`) stays whole."""
    if ":" in source[2:]:  # after the drive of Windows
        return source
    return PurePosixPath(source.replace("\\", "/")).name or source
