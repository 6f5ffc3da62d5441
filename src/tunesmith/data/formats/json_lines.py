"""JSON lines: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tunesmith.data.formats import FileFormat, Row
from tunesmith.data.formats._files import DataFile, is_utf8


def _rows(file: DataFile) -> Iterator[Row]:
    with file.open_text() as handle:
        for number, line in enumerate(handle, start=1):
            if line.strip():
                yield _row(number, line)


def _row(number: int, line: str) -> Row:
    if not is_utf8(line):
        return Row(number, fault="not UTF-8.")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Row(number, fault=f"not JSON: {error}.")
    if not isinstance(value, dict):
        return Row(number, fault=f"a row must be a JSON object, not {type(value).__name__}.")
    return Row(number, value)


format = FileFormat("one JSON object a line", (".jsonl", ".ndjson"), _rows)
