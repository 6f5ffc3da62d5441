"""Shapes of JSON documents: rows, columns, several splits, SQuAD, and spaCy's pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tunesmith.data.formats import Row, _squad
from tunesmith.data.formats._encodings import encoding_of, is_text
from tunesmith.data.formats._files import DataFile
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_NOTHING = object()


def parsed_document(text: str) -> object:
    """The value of a JSON text; a special object if the text is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOTHING


def is_json_line(line: str) -> bool:
    """Whether a line is an object, or a pair of a text and an object."""
    value = parsed_document(line)
    return isinstance(value, dict) or pair_values(value) is not None


def pair_values(value: object) -> JsonObject | None:
    """The row of spaCy's `[text, {"entities": …}]`; None for any other value."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    if not isinstance(value[0], str) or not isinstance(value[1], dict):
        return None
    return {"text": value[0], **value[1]}


def document_rows(document: Any, file: DataFile) -> Iterator[Row]:
    """The rows of a JSON document.

    Raises:
        DataError: it holds no rows, or rows of several splits.
    """
    if file.part:
        document = _part(document, file)
    if _squad.is_squad(document):
        yield from _squad.squad_rows(document)
        return
    rows = rows_within(document)
    if rows is None:
        raise _no_rows(document, file)
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            yield Row(number, row, unit="row")
        elif (pair := pair_values(row)) is not None:
            yield Row(number, pair, unit="row")
        else:
            problem = f"a row must be a JSON object, not {type(row).__name__}."
            yield Row(number, problem=problem, unit="row")


def rows_within(value: object) -> list[object] | None:
    """The rows of a list, of `{"data": [...]}`, of columns `{"text": [...], "label": [...]}`, or of pandas."""
    if not isinstance(value, dict):
        return value if isinstance(value, list) else None
    if isinstance(value.get("data"), list):
        return _under_columns(value.get("columns"), value["data"])
    if value and all(isinstance(part, dict) for part in value.values()):
        return _of_objects(value)
    if parts_within(value) or not all(isinstance(column, list) for column in value.values()):
        return None
    if len({len(column) for column in value.values()}) != 1:
        return None
    return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]


def _under_columns(names: object, rows: list[Any]) -> list[object]:
    """Rows that are lists, with the column names beside them (pandas' `split`); other rows unchanged."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return rows
    is_table = all(isinstance(row, list) and len(row) == len(names) for row in rows)
    return [dict(zip(names, row, strict=True)) for row in rows] if is_table else rows


def _of_objects(value: dict[str, JsonObject]) -> list[object] | None:
    """Rows in objects by number: one object per row (pandas' `index`), or per column (its default, `columns`)."""
    if all(key.isdecimal() for key in value):
        return list(value.values())
    numbers = next(iter(value.values()))
    if not all(key.isdecimal() for key in numbers) or any(c.keys() != numbers.keys() for c in value.values()):
        return None
    return [{name: column[number] for name, column in value.items()} for number in numbers]


def parts_within(value: object) -> list[str]:
    """The names of the lists of rows in a document."""
    lists = (
        {name: part for name, part in value.items() if isinstance(part, list)}
        if isinstance(value, dict)
        else {}
    )
    holds_rows = all(part and all(isinstance(row, dict) for row in part[:3]) for part in lists.values())
    return list(lists) if holds_rows else []


def lines_of(head: bytes) -> list[str]:
    """The complete, non-blank lines in the first bytes of a text; none for a binary file."""
    text = head.decode(encoding_of(head)[0], "replace") if is_text(head) else ""
    lines = text.splitlines()
    return [line for line in lines[: len(lines) - (len(lines) > 1 and len(head) >= 2**16)] if line.strip()]


def first_character(head: bytes) -> str:
    """The first character of a text that is not white space."""
    lines = lines_of(head)
    return lines[0].lstrip()[0] if lines else ""


def _part(document: Any, file: DataFile) -> object:
    names = parts_within(document)
    if file.part not in names:
        raise DataError(
            f"`{file.file_name}` holds no rows called `{file.part}`.",
            remedy=f"It holds: {', '.join(f'`{name}`' for name in names) or 'no lists by name'}.",
        )
    return document[file.part]


def _no_rows(document: object, file: DataFile) -> DataError:
    names = parts_within(document)
    if names:
        written = ", ".join(f"`{file.file_name}#{name}`" for name in names)
        return DataError(
            f"`{file.name}` holds {len(names)} lists of rows, and a source must be one list.",
            remedy=f"Name one: {written}.",
        )
    return DataError(
        f"`{file.name}` must hold a list of objects, or `data` with such a list.",
        remedy="Save it as a list of rows.",
    )
