"""SHA-256 of every file of a finished run, in its manifest: what was damaged or exchanged later is found.

A reader of a run checks the files that its answers come from: the model, the scores, the rows. What people may
edit (the model card, `recipe.yaml`, the report) is checked by `train` on a finished run, which only reports it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.run.files import sha256_of

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_DECISIVE = ("model", "data", "predictions", "metrics.json")
_SHOWN = ("recipe.yaml", "report.html")
_CARD = "README.md"
_EVENTS = "events.jsonl"
_SUM = "sum"


def file_checksums(run: Path) -> JsonObject:
    """What a manifest says of the files of a run that comes to its end.

    Args:
        run: folder of the run.
    """
    found: JsonObject = {str(path.relative_to(run)): sha256_of(path) for path in _files(run)}
    events = run / _EVENTS
    if events.is_file():  # it has a line more when the run has ended
        found[_EVENTS] = {"bytes": events.stat().st_size, "sha256": sha256_of(events)}
    return found


def problems(run: Path, expected: JsonObject, *, decisive: bool) -> list[str]:
    """What is wrong with the files of a finished run; empty when all checksums agree.

    Args:
        run: folder of the run.
        expected: what `file_checksums` gave; empty for a run of an earlier version.
        decisive: whether only the files are checked that answers come from.
    """
    found = []
    for name, checksum in expected.items():
        path = run / name
        if decisive and not _is_decisive(name):
            continue
        if not path.is_file():
            found.append(f"{name} is missing")
        elif not _agrees(path, checksum):
            found.append(f"{name} is damaged or is another file")
    return found


def with_sum(manifest: JsonObject) -> JsonObject:
    """A manifest with a checksum of its own content."""
    content = {name: value for name, value in manifest.items() if name != _SUM}
    return {**content, _SUM: _sum_of(content)}


def has_wrong_sum(manifest: JsonObject) -> bool:
    """Whether a manifest has a checksum that is not that of its content."""
    has_sum = isinstance(manifest, dict) and _SUM in manifest
    return has_sum and bool(manifest != with_sum(manifest))


def _files(run: Path) -> Iterator[Path]:
    for name in (*_DECISIVE, *_SHOWN):
        path = run / name
        yield from (
            sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path] * path.is_file()
        )


def _is_decisive(name: str) -> bool:
    return name.partition("/")[0] in _DECISIVE and not name.endswith(_CARD)


def _agrees(path: Path, checksum: str | JsonObject) -> bool:
    if isinstance(checksum, str):
        return sha256_of(path) == checksum
    with path.open("rb") as file:
        content = file.read(int(checksum["bytes"]))
    return bool(hashlib.sha256(content).hexdigest() == checksum["sha256"])


def _sum_of(content: JsonObject) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
