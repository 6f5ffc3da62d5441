"""`update.json`: what an update was asked for, what it found and what it decided; one folder an update.

    runs/reviews               the champion
    runs/reviews-update-1/     update.json, update.html, data/, from-champion/, from-base/
    runs/reviews-update-2/     …

An update that was stopped has a record that says so, and the same request goes on in its folder.
"""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import RunError
from tunesmith.run import read_json, write_json

if TYPE_CHECKING:
    from tunesmith.run import Run
    from tunesmith.types import JsonObject

FORMAT = 1
RECORD, PAGE = "update.json", "update.html"
RUNNING, FINISHED = "running", "finished"
_NUMBERED = re.compile(r"^(?P<root>.+)-update-(?P<number>\d+)$")


def root_of(champion: Run) -> Path:
    """The path that the names of a champion's updates begin with: that of the run that was updated first."""
    path = champion.path.resolve()
    if (path.parent / RECORD).is_file() and (found := _NUMBERED.match(path.parent.name)):
        return path.parent.with_name(found["root"])
    return path


def records_of(champion: Run) -> Iterator[JsonObject]:
    """The records of all updates of a champion and of those before it, in order."""
    root = root_of(champion)
    for number in itertools.count(1):
        folder = root.with_name(f"{root.name}-update-{number}")
        if not folder.is_dir():
            return
        if (folder / RECORD).is_file():
            yield {**read_record(folder), "folder": str(folder)}


def folder_for(champion: Run, output_dir: Path | None, request: JsonObject) -> Path:
    """The folder of an update: one that the same request has begun, or a new one.

    Args:
        champion: the run to update.
        output_dir: folder that the user names; None chooses one beside the champion.
        request: what is asked for.

    Raises:
        RunError: the folder that the user names holds something else.
    """
    if output_dir is not None:
        _refuse_taken(output_dir, request)
        return output_dir
    root = root_of(champion)
    for number in itertools.count(1):
        folder = root.with_name(f"{root.name}-update-{number}")
        if not folder.exists() or _has_begun(folder, request):
            return folder
    raise AssertionError("there is always a next number")


def begin(folder: Path, request: JsonObject) -> None:
    """Writes what is asked for, before anything is done."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RECORD, {"format": FORMAT, "state": RUNNING, "began": now(), "request": request})


def finish(folder: Path, record: JsonObject) -> JsonObject:
    """Writes what was found and decided."""
    began = read_record(folder)
    whole = {**began, "state": FINISHED, "finished": now(), **record}
    write_json(folder / RECORD, whole)
    return whole


def read_record(folder: Path) -> JsonObject:
    """The record of an update.

    Raises:
        RunError: there is none, or a newer version wrote it.
    """
    found = read_json(folder / RECORD)
    if found.get("format") != FORMAT:
        raise RunError(
            f"the format of an update must be {FORMAT}, got `{found.get('format')}`.",
            location=str(folder / RECORD),
            remedy="Install the version of tunesmith that wrote it.",
        )
    return found


def now() -> str:
    """The time in UTC, as ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _has_begun(folder: Path, request: JsonObject) -> bool:
    """Whether the same request has begun in a folder, and was stopped."""
    if not (folder / RECORD).is_file():
        return False
    found = read_record(folder)
    return bool(found["state"] == RUNNING and found["request"] == request)


def _refuse_taken(folder: Path, request: JsonObject) -> None:
    is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not is_free and not _has_begun(folder, request):
        raise RunError(
            f"`{folder}` holds something else than this update.", remedy="Choose another `--output-dir`."
        )
