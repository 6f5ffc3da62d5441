"""CSV and TSV with a header; the delimiter of a `.csv` is the one its header has most of."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from typing import Any

from tunesmith.data.formats import FileFormat, Row
from tunesmith.data.formats._files import DataFile, is_utf8
from tunesmith.errors import DataError

_DELIMITERS = ",;\t|"


def _rows(file: DataFile) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    with file.open_text() as handle:
        first = handle.readline()
        delimiter = "\t" if file.ending == ".tsv" else max(_DELIMITERS, key=first.count)
        lines = itertools.chain([first] if first else [], handle)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        yield from _body(reader, _header(reader, file.name))


def _header(reader: Any, name: str) -> list[str]:
    place = f"{name}, line 1"
    try:
        header: list[str] = next(reader, [])
    except csv.Error as error:
        raise DataError(
            f"the header is not CSV: {error}.", place=place, remedy="Mend the header's quotes."
        ) from None
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise DataError(
            f"a column's name must be its own, and `{twice[0]}` stands twice in the header.",
            place=place,
            remedy="Rename one of them.",
        )
    return header


def _body(reader: Any, header: list[str]) -> Iterator[Row]:
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(line, fault=f"not CSV: {error}.")
            continue
        if fields:
            yield _row(line, header, fields)


def _row(line: int, header: list[str], fields: list[str]) -> Row:
    if len(fields) != len(header):
        return Row(line, fault=f"{len(fields)} fields, the header has {len(header)}.")
    if not all(map(is_utf8, fields)):
        return Row(line, fault="not UTF-8.")
    return Row(line, dict(zip(header, fields, strict=True)))


format = FileFormat("a header and rows of fields", (".csv", ".tsv"), _rows)
