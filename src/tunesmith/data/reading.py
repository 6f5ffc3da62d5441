"""Rows of a source, one at a time, each with its location. All formats are read through this module.

A source is a file (a local one or a URL that fsspec knows, compressed or not), a folder of texts, parallel files,
a database with a query, a data set of the Hub, or an object in memory. `formats/` has a module for each.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.data.formats import Row, SourceFormat, format_of, source_formats
from tunesmith.data.formats._files import DataFile
from tunesmith.data.formats._remote import filled
from tunesmith.errors import DataError
from tunesmith.masking import is_masked

if TYPE_CHECKING:
    from tunesmith.tasks import Values

__all__ = [
    "Row", "fingerprint_of", "is_in_memory", "read_rows", "read_sample", "source_files", "source_name",
    "source_parts",
]  # fmt: skip


def read_rows(source: str, notices: list[str] | None = None) -> Iterator[tuple[str, Row]]:
    """Every row of a source, with the name of its file.

    Args:
        source: a file or its URL, a folder, `parallel:PATH.{en,de}`, `URL#QUERY` or `hub:NAME[:SPLIT]`.
        notices: list to which notices for the user are appended while the rows are read.

    Raises:
        DataError: the source does not exist, or is not of the format that its name says.
    """
    try:
        entry, source = _to_open(source)
        yield from entry.rows(source, [] if notices is None else notices)
    except OSError as error:  # a disk or a network that fails in the middle
        raise DataError(
            f"`{source_name(source)}` cannot be read to its end: {error}.",
            remedy="Try again, or make a local copy.",
        ) from None


def read_sample(rows: Iterable[tuple[str, Row]], n: int) -> tuple[list[tuple[str, Row]], list[Values]]:
    """The first rows, until `n` of them are usable, and the values of the usable rows."""
    head: list[tuple[str, Row]] = []
    sample: list[Values] = []
    for file, row in rows:
        head.append((file, row))
        if not row.problem:
            sample.append(row.values)
        if len(sample) >= n:
            break
    return head, sample


def source_parts(source: str) -> list[tuple[str, str]]:
    """The parts of a source (splits, for example): the name of each, and how it is written as a source."""
    entry, source = _found(source)
    return entry.parts(source)


def source_files(source: str) -> list[Path]:
    """The local files of a source, sorted; none for a remote source.

    Raises:
        DataError: a file is missing.
    """
    entry, source = _to_open(source)
    return entry.files(source)


def fingerprint_of(source: str) -> bytes:
    """Bytes that change when the data of a source change; for a Hub data set, a hash of its name.

    Raises:
        DataError: the source cannot be read.
    """
    entry, source = _to_open(source)
    return entry.fingerprint(source)


def source_name(source: str) -> str:
    """The name of a source in messages, without passwords."""
    entry, source = _found(source)
    return entry.name(source)


def is_in_memory(source: str) -> bool:
    """Whether the rows of a source exist only in the process that names it."""
    return _found(source)[0].is_in_memory


def with_variables(source: str) -> str:
    """A path with `${NAME}` replaced by the environment variable.

    A URL, or a source with a query, keeps its variables until it is opened, so that its name shows no secret.

    Raises:
        DataError: a variable is not set.
    """
    return source if "://" in source or "#" in source else filled(source)


def _to_open(source: str) -> tuple[SourceFormat, str]:
    if is_masked(source):
        raise DataError(
            f"`{source_name(source)}` was recorded without its password.",
            remedy="Write `${NAME}` in place of the password, and set that environment variable to it.",
        )
    return _found(source)


def _found(source: str) -> tuple[SourceFormat, str]:
    """The format that reads a source, and the source in the form that the format takes."""
    source = with_variables(source)
    return next((entry for entry in source_formats() if entry.claims(source)), _FILE), source


def _file(source: str, notices: list[str] | None = None) -> DataFile:
    file = DataFile(source, notices)
    file.refuse_missing()
    return file


def _file_rows(source: str, notices: list[str]) -> Iterator[tuple[str, Row]]:
    file = _file(source, notices)
    yield from ((file.name, row) for row in format_of(file).rows(file))


def _file_path(source: str) -> list[Path]:
    path = _file(source).path
    return [path] if path else []


def _file_parts(source: str) -> list[tuple[str, str]]:
    file = DataFile(source)
    is_there = file.path is not None and os.path.isfile(file.path) and file.path.stat().st_size
    return format_of(file).parts(file) if is_there and not file.part else []


_FILE = SourceFormat(
    "a file of a known format, local or at a URL",
    claims=lambda source: True,
    rows=_file_rows,
    files=_file_path,
    fingerprint=lambda source: _file(source).sha256(),
    name=lambda source: DataFile(source).name,
    parts=_file_parts,
)
