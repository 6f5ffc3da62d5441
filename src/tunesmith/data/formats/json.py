"""JSON: a list of objects, `{"data": [...]}` with such a list, columns of equal length, splits, or SQuAD."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tunesmith.data.formats import FileFormat, Row
from tunesmith.data.formats._files import DataFile
from tunesmith.data.formats._json import (
    document_rows,
    first_character,
    is_json_line,
    lines_of,
    parsed_document,
    parts_within,
)
from tunesmith.data.formats.json_lines import line_rows
from tunesmith.errors import DataError

_FIRST_LINES = 20


def _rows(file: DataFile) -> Iterator[Row]:
    text = file.read_text()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        if _holds_lines(text):
            file.notice(f"`{file.name}` is read as JSON lines, because of its content")
            return line_rows(file)
        raise DataError(
            f"`{file.name}` is not JSON: {error}.",
            remedy="A file with one object per line has the ending .jsonl.",
        ) from None
    return document_rows(document, file)


def _holds_lines(text: str) -> bool:
    """Whether most of the first lines are JSON objects."""
    lines = [line for line in text[: 2**20].splitlines() if line.strip()][:_FIRST_LINES]
    return 2 * sum(map(is_json_line, lines)) > len(lines)


def _parts(file: DataFile) -> list[tuple[str, str]]:
    """The splits in a document: `a.json#train`."""
    if first_character(file.head()) != "{":
        return []
    names = parts_within(parsed_document(file.read_text()))
    return [(name, f"{file.file_name}#{name}") for name in names]


def _recognises(head: bytes) -> bool:
    return first_character(head) in ("[", "{") and not all(map(is_json_line, lines_of(head)))


format = FileFormat(
    "a list of objects, columns, splits, or SQuAD 1.1 and 2.0", (".json",), _rows, _recognises, _parts
)
