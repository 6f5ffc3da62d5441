"""Formats of data. One file in this folder reads one; a new format is a new file.

Most formats are kinds of file, told by their endings (`FileFormat`); the rest are sources that are no single
file, told by how they are written (`SourceFormat`): a folder, a database with a query, a set of the Hub. The
text formats are read with the standard library, not through `datasets`: its CSV and JSON readers do not tell
on which line a row stands, fill missing fields with nulls and stop at the first wrong row, and a user with
one bad row in a million needs its line. Nothing is guessed about values: all of CSV is text, and what is
missing stays missing for the task to judge. Nothing is executed, and nothing is unpickled.

Modules that begin with an underscore are what formats stand on, or shapes within one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.data.formats._files import DataFile
from tunesmith.data.formats._packing import PACKINGS
from tunesmith.errors import DataError
from tunesmith.registry import Registry


@dataclass(frozen=True)
class Row:
    """One row of a source: its values by column, or why it has none.

    Args:
        line: where it begins, counted in `unit` from 1.
        values: what stands in it, by column name.
        fault: why the row cannot be read; empty when it can.
        unit: what `line` counts: `line` where the format has lines a user can go to, else `row`,
            `question` or `unit`.
    """

    line: int
    values: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    unit: str = "line"

    def place(self, file: str) -> str:
        """Where the row stands: `train.csv, line 17`, `train.parquet, row 17`."""
        return f"{file}, {self.unit} {self.line}"


@dataclass(frozen=True)
class FileFormat:
    """A kind of file, told by its ending.

    Args:
        summary: one line of what it holds.
        endings: lower-case, with their points.
        rows: every row of a file, one at a time.
    """

    summary: str
    endings: tuple[str, ...]
    rows: Callable[[DataFile], Iterator[Row]]


@dataclass(frozen=True)
class SourceFormat:
    """A source that is no single file, told by how it is written.

    Args:
        summary: one line of how it is written.
        claims: whether a source is of this kind.
        rows: every row, one at a time, with the name of the file it stands in.
        files: the local files behind a source, sorted.
        fingerprint: bytes that change when the data do.
        name: what messages call a source; it never shows a password.
    """

    summary: str
    claims: Callable[[str], bool]
    rows: Callable[[str], Iterator[tuple[str, Row]]]
    files: Callable[[str], list[Path]]
    fingerprint: Callable[[str], bytes]
    name: Callable[[str], str] = str


FORMATS: Registry[FileFormat | SourceFormat] = Registry("tunesmith.data.formats", "format")


def source_formats() -> list[SourceFormat]:
    """Every kind of source that is no single file."""
    return [entry for name in FORMATS.names() if isinstance(entry := FORMATS.get(name), SourceFormat)]


def format_of(file: DataFile) -> FileFormat:
    """The format of a file's ending.

    Raises:
        DataError: there is none; the message lists what there is.
    """
    entries = [entry for name in FORMATS.names() if isinstance(entry := FORMATS.get(name), FileFormat)]
    by_ending = {ending: entry for entry in entries for ending in entry.endings}
    if file.ending not in by_ending:
        raise DataError(
            f"`{file.name}` ends in `{file.ending or 'nothing'}`, which is no known format.",
            remedy=f"Known endings: {', '.join(sorted(by_ending))}, each also with {', '.join(PACKINGS)}.",
        )
    return by_ending[file.ending]
