"""JSON lines: on each line an object, or a pair of a text and its annotations, as in spaCy."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tunesmith.data.formats import FileFormat, Row
from tunesmith.data.formats._encodings import text_problem
from tunesmith.data.formats._files import DataFile
from tunesmith.data.formats._json import (
    document_rows,
    first_character,
    is_json_line,
    lines_of,
    pair_values,
    parsed_document,
)


def _rows(file: DataFile) -> Iterator[Row]:
    if document := _as_document(file):
        file.notice(f"`{file.name}` is read as one JSON document, because it is not JSON lines")
        return document_rows(document[0], file)
    return line_rows(file)


def _as_document(file: DataFile) -> list[object]:
    """A list with the document, if the file is one JSON document; else empty."""
    with file.open_text() as handle:
        first = next((line for line in handle if line.strip()), "")
    if is_json_line(first) or not first.lstrip().startswith(("[", "{")):
        return []
    document = parsed_document(file.read_text())
    return [document] if isinstance(document, list | dict) else []


def line_rows(file: DataFile) -> Iterator[Row]:
    """One row for each line."""
    with file.open_text() as handle:
        for number, line in enumerate(handle, start=1):
            if line.strip():
                yield _row(number, line)


def _row(number: int, line: str) -> Row:
    if problem := text_problem(line):
        return Row(number, problem=problem)
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Row(number, problem=f"not JSON: {error}.")
    if not isinstance(value, dict) and (pair := pair_values(value)) is not None:
        return Row(number, pair)
    if not isinstance(value, dict):
        return Row(number, problem=f"a row must be a JSON object, not {type(value).__name__}.")
    return Row(number, value)


def _recognises(head: bytes) -> bool:
    lines = lines_of(head)
    return first_character(head) in ("[", "{") and bool(lines) and all(map(is_json_line, lines))


format = FileFormat("one JSON object per line", (".jsonl", ".ndjson"), _rows, _recognises)
