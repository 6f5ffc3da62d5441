"""Names of data sources in documents, without their folders. The files of a run hold no passwords."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

_SHOWN = 3


def named_sources(sources: Sequence[str]) -> str:
    """`train.csv, more.csv`; after the third only how many there are."""
    names = [_short(source) for source in sources]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _short(source: str) -> str:
    """The last part of a path; a name of another kind (`hub:…`, `https://…`) stays whole."""
    if ":" in source[2:]:  # after the drive of Windows
        return source
    return PurePosixPath(source.replace("\\", "/")).name or source
