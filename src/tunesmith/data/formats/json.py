"""JSON: a list of objects, `{"data": [...]}` with one, columns of one length, or SQuAD."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tunesmith.data.formats import FileFormat, Row, _squad
from tunesmith.data.formats._files import DataFile
from tunesmith.errors import DataError


def _rows(file: DataFile) -> Iterator[Row]:
    value = _document(file)
    if _squad.is_squad(value):
        yield from _squad.squad_rows(value)
        return
    rows = _rows_within(value)
    if rows is None:
        raise DataError(
            f"`{file.name}` must hold a list of objects, or `data` with one.",
            remedy="Save it as a list of rows.",
        )
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            yield Row(number, row, unit="row")
        else:
            fault = f"a row must be a JSON object, not {type(row).__name__}."
            yield Row(number, fault=fault, unit="row")


def _document(file: DataFile) -> Any:
    with file.open_text() as handle:
        try:
            return json.load(handle)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"`{file.name}` is not JSON: {error}.", remedy="One object a line has the ending .jsonl."
            ) from None


def _rows_within(value: Any) -> list[Any] | None:
    """The rows of a list, of `{"data": [...]}`, or of columns `{"text": [...], "label": [...]}`."""
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not all(isinstance(column, list) for column in value.values()):
        return None
    if len({len(column) for column in value.values()}) != 1:
        return None
    return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]


format = FileFormat("a list of objects, columns, or SQuAD 1.1 and 2.0", (".json",), _rows)
