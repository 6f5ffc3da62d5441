"""The cache folder: entries are complete or absent, checked when they are opened, and removed when they are old.

An entry is a folder of files, with a SHA-256 of each in `facts.json`. It is written under another name and renamed
when it is complete. It is moved away before it is removed. So a process finds all of an entry or nothing, and one
that has it open can continue to read. A checksum costs about half a second for the token ids of a million rows,
whose texts have just been read for the entry's name. Without it, a disk that returns zeros would spoil a model.

Entries that were not opened for `TUNESMITH_CACHE_DAYS` are removed. Then the entries that were unused for the
longest time are removed, until those of one kind take at most `TUNESMITH_CACHE_GB`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import RecipeError
from tunesmith.run import sha256_of
from tunesmith.run.files import new_folder

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

GB_VARIABLE, DAYS_VARIABLE = "TUNESMITH_CACHE_GB", "TUNESMITH_CACHE_DAYS"
DEFAULT_GB, DEFAULT_DAYS = 4.0, 30.0

_FACTS = "facts.json"
_ASIDE = (".new-", ".old-")
_ABANDONED_S = 2 * 24 * 3600.0
"""Age above which unfinished files of another machine are taken as abandoned."""


def cache_folder() -> Path:
    """The folder of encodings and large columns: `TUNESMITH_CACHE`, else `~/.cache/tunesmith`."""
    return Path(os.environ.get("TUNESMITH_CACHE") or Path.home() / ".cache" / "tunesmith")


def open_entry(entry: Path) -> JsonObject | None:
    """The facts of an entry, after a check of all its files; None if it is missing or damaged."""
    try:
        content = json.loads((entry / _FACTS).read_text(encoding="utf-8"))
        facts, sums = content["facts"], content["sha256"]
        if content["sum"] != _sum_of_facts(entry.name, facts, sums):
            return None
        if any(sha256_of(entry / name) != expected for name, expected in sums.items()):
            return None
        os.utime(entry)  # used now
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return dict(facts)


@contextlib.contextmanager
def new_entry(entry: Path) -> Iterator[tuple[Path, JsonObject]]:
    """A folder for new files, and a mapping for facts; the entry exists if the context ends without an error.

    An existing entry is taken as damaged and is replaced.

    Args:
        entry: folder that will hold the files.

    Raises:
        OSError: the disk is full.
    """
    entry.parent.mkdir(parents=True, exist_ok=True)
    aside = new_folder(entry.parent, _aside(".new-"))
    facts: JsonObject = {}
    try:
        yield aside, facts
        sums = {path.name: sha256_of(path) for path in sorted(aside.iterdir())}
        content = {"facts": facts, "sha256": sums, "sum": _sum_of_facts(entry.name, facts, sums)}
        (aside / _FACTS).write_text(json.dumps(content), encoding="utf-8")
        _remove(entry)
        with contextlib.suppress(OSError):  # another process was faster, and its entry is the same
            aside.rename(entry)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def most_bytes() -> int:
    """Bytes that the entries of one kind may take between runs.

    Raises:
        RecipeError: the environment variable is not a number.
    """
    return int(_limit(GB_VARIABLE, DEFAULT_GB) * 1e9)


def remove_old(folder: Path, most: int | None = None, kept: Collection[Path] = ()) -> None:
    """Removes entries that were not used for long, and unfinished files of killed processes.

    Args:
        folder: folder of the entries of one kind.
        most: most bytes that stay; None takes `most_bytes`.
        kept: entries that stay, whatever their age and size.

    Raises:
        RecipeError: an environment variable is not a number.
    """
    most, days = most_bytes() if most is None else most, _limit(DAYS_VARIABLE, DEFAULT_DAYS)
    for path in (path for prefix in _ASIDE for path in folder.glob(f"{prefix}*")):
        if _is_left_behind(path):
            shutil.rmtree(path, ignore_errors=True)
    total, oldest = 0, time.time() - days * 24 * 3600
    entries = [path for path in folder.glob("[0-9a-f]*") if path.is_dir()]
    for entry in sorted(entries, key=lambda path: (path in kept, _used(path)), reverse=True):
        total += sum(_size(file) for file in entry.glob("*"))
        if entry not in kept and (total > most or _used(entry) < oldest):
            _remove(entry)


def used_since(folder: Path, moment: float) -> list[Path]:
    """The entries that were used since a moment, in seconds of `time.time`."""
    # The clock of a file system may be a little behind.
    return [path for path in folder.glob("[0-9a-f]*") if _used(path) > moment - 1]


def _limit(variable: str, default: float) -> float:
    text = os.environ.get(variable, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise RecipeError(
            f"{variable} must be a number, got `{text}`.", remedy=f"The default is {default:g}."
        )
    return value


def _remove(entry: Path) -> None:
    """Removes an entry; a process that opens it meanwhile finds all of it or nothing."""
    with contextlib.suppress(OSError):  # it is not there, or another process removes it
        aside = new_folder(entry.parent, _aside(".old-"))
        try:
            entry.rename(aside / entry.name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _aside(prefix: str) -> str:
    return f"{prefix}{platform.node()}-{os.getpid()}-"


def _is_left_behind(path: Path) -> bool:
    """Whether the writing process has ended, as far as this machine can know."""
    import psutil

    node, process = path.name[len(_ASIDE[0]) :].rsplit("-", 2)[:2]
    if node == platform.node() and process.isdigit() and not psutil.pid_exists(int(process)):
        return True
    return max(map(_used, (path, *path.glob("*")))) < time.time() - _ABANDONED_S


def _sum_of_facts(name: str, facts: object, sums: object) -> str:
    """The checksum of an entry, with its name, so that one entry in the place of another is found."""
    return hashlib.sha256(json.dumps([name, facts, sums], sort_keys=True).encode()).hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # another process has removed it
        return 0


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has removed it
        return 0.0
