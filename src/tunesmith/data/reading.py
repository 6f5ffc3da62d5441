"""Rows of a source, one at a time, each with the place it stands at. The door to all formats.

A source is a file (here or at a URL that fsspec knows, compressed or not), a folder of texts, parallel files,
a database with a query, or a data set of the Hub. What each is, stands in `formats/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunesmith.data.formats import Row, SourceFormat, format_of, source_formats
from tunesmith.data.formats._files import DataFile
from tunesmith.data.formats._remote import filled
from tunesmith.errors import DataError
from tunesmith.masking import is_masked

__all__ = ["Row", "fingerprint_of", "read_rows", "source_files", "source_name"]


def read_rows(source: str) -> Iterator[tuple[str, Row]]:
    """Every row of a source, with the name of the file it stands in.

    Args:
        source: a file or its URL, a folder, `parallel:PATH.{en,de}`, `URL#QUERY` or `hub:NAME[:SPLIT]`.

    Raises:
        DataError: there is no such source, or it is not what its name says.
    """
    try:
        entry, source = _to_open(source)
        yield from entry.rows(source)
    except OSError as error:  # a disk or a network that gives way in the middle
        raise DataError(
            f"`{source_name(source)}` cannot be read to its end: {error}.", remedy="Try again, or copy it."
        ) from None


def source_files(source: str) -> list[Path]:
    """The local files behind a source, sorted; none for what is elsewhere.

    Raises:
        DataError: a file is missing.
    """
    entry, source = _to_open(source)
    return entry.files(source)


def fingerprint_of(source: str) -> bytes:
    """Bytes that change when the data of a source do; a Hub name stands for itself.

    Raises:
        DataError: the source cannot be read.
    """
    entry, source = _to_open(source)
    return entry.fingerprint(source)


def source_name(source: str) -> str:
    """What messages call a source: never with a password."""
    entry, source = _found(source)
    return entry.name(source)


def with_variables(source: str) -> str:
    """A path with the values of the environment for `${NAME}`.

    A URL, and what a query follows, keeps its variables until it is opened, so that its name shows no secret.

    Raises:
        DataError: a variable is not set.
    """
    return source if "://" in source or "#" in source else filled(source)


def _to_open(source: str) -> tuple[SourceFormat, str]:
    if is_masked(source):
        raise DataError(
            f"`{source_name(source)}` was written down without its password.",
            remedy="Put `${NAME}` in its place and the password into that variable of the environment.",
        )
    return _found(source)


def _found(source: str) -> tuple[SourceFormat, str]:
    """The format that reads a source, and the source as that format takes it."""
    source = with_variables(source)
    return next((entry for entry in source_formats() if entry.claims(source)), _FILE), source


def _file(source: str) -> DataFile:
    file = DataFile(source)
    file.refuse_missing()
    return file


def _file_rows(source: str) -> Iterator[tuple[str, Row]]:
    file = _file(source)
    yield from ((file.name, row) for row in format_of(file).rows(file))


def _file_path(source: str) -> list[Path]:
    path = _file(source).path
    return [path] if path else []


_FILE = SourceFormat(
    "a file of a known format, here or at a URL",
    claims=lambda source: True,
    rows=_file_rows,
    files=_file_path,
    fingerprint=lambda source: _file(source).sha256(),
    name=lambda source: DataFile(source).name,
)
