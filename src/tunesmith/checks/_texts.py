"""The texts of rows, and what `--fix` may change in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tunesmith.checks import Change, CheckedData
from tunesmith.tasks._values import strings


def text_columns(data: CheckedData) -> list[str]:
    """The columns of texts, to read and to write, but for labels."""
    texts = {column.name for column in data.task.columns if column.kind in ("text", "list")}
    labels = {column.name for column in data.task.columns if column.target and column.kind != "text"}
    known = dict.fromkeys([*data.task.inputs, *data.task.outputs])
    columns = data.splits["train"].columns
    return [name for name in known if name in columns and name in texts - labels]


def input_texts(data: CheckedData, split: str) -> Iterator[tuple[int, str]]:
    """The inputs of each row as one text, with its number."""
    examples = data.splits[split]
    columns = [examples.columns[name] for name in examples.inputs if name in examples.columns]
    for row, values in enumerate(zip(*columns, strict=True)):
        yield row, "\n".join(text for value in values for text in strings(value))


def all_texts(data: CheckedData, split: str) -> Iterator[tuple[int, str, Any]]:
    """Every value that holds texts: the number of its row, its column, the value."""
    columns = data.splits[split].columns
    for name in text_columns(data):
        if name in columns:
            for row, value in enumerate(columns[name]):
                yield row, name, value


def may_change(data: CheckedData) -> bool:
    """Whether texts can be changed: not where answers or entities are given by their location in the text."""
    return data.task.offsets is None and data.task.alignment is None


def changed(value: Any, change: Callable[[str], str]) -> Any:
    """A value with each of its texts changed; its shape stays."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list | tuple):
        return [changed(item, change) for item in value]
    if isinstance(value, dict):
        return {key: changed(item, change) if key == "content" else item for key, item in value.items()}
    return value


def changes_of(
    data: CheckedData, split: str, rows: dict[int, set[str]], change: Callable[[str], str]
) -> list[Change]:
    """The changes of some columns of some rows; none where texts must stay as they are."""
    if not may_change(data):
        return []
    columns = data.splits[split].columns
    return [
        Change(split, row, name, changed(columns[name][row], change))
        for row, names in sorted(rows.items())
        for name in sorted(names)
    ]
