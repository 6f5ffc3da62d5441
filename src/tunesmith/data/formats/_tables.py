"""Objects that hold rows, as programs and notebooks have them: what each is called, and its rows.

A library whose object it is must be imported already, so none is imported here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from tunesmith.data.formats._features import row_converter
from tunesmith.data.formats._plain import plain
from tunesmith.errors import DataError
from tunesmith.types import JsonObject

_BATCH_ROWS = 4096
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Table:
    """Rows in memory.

    Args:
        kind: name of the type, for people: `DataFrame`.
        rows: function that yields every row, with plain values.
    """

    kind: str
    rows: Callable[[], Iterator[JsonObject]]


def is_column(data: object) -> TypeGuard[Sequence[Any]]:
    """Whether an object is one value a row: a list, a tuple, an array or a Series."""
    return (
        isinstance(data, list | tuple) or is_series(data) or (isinstance(data, np.ndarray) and data.ndim == 1)
    )


def is_frame(data: object) -> bool:
    """Whether an object is a DataFrame of pandas."""
    return _is_of("pandas", "DataFrame", data)


def is_series(data: object) -> bool:
    """Whether an object is a Series or an Index of pandas."""
    return _is_of("pandas", "Series", data) or _is_of("pandas", "Index", data)


def is_columns(data: object) -> TypeGuard[Mapping[str, Sequence[Any]]]:
    """Whether an object is a mapping of names to columns."""
    return isinstance(data, Mapping) and bool(data) and all(map(is_column, data.values()))


def is_data_set(data: object) -> bool:
    """Whether an object is a `datasets.Dataset`."""
    return _is_of("datasets", "Dataset", data)


def is_arrow(data: object) -> bool:
    """Whether an object is a table of pyarrow."""
    return _is_of("pyarrow", "Table", data)


def parts_of(data: object) -> dict[str, object]:
    """The splits of a `datasets.DatasetDict`, or of a mapping of names to tables; empty for anything else."""
    if not isinstance(data, Mapping) or not data:
        return {}
    is_split = all(is_frame(part) or is_data_set(part) for part in data.values())
    return {str(name): part for name, part in data.items()} if is_split else {}


def table_of(data: object, text_name: str) -> Table:
    """The rows of an object.

    Args:
        data: a DataFrame, a Series, a `datasets.Dataset`, a table of pyarrow, a mapping of columns, or a list of
            mappings.
        text_name: name of the column of a Series, which holds texts.

    Raises:
        DataError: it is something else, or its columns do not fit together.
    """
    if is_frame(data):
        return Table("DataFrame", lambda: _rows_of_frame(data))
    if is_series(data):
        return _of_columns("Series", {text_name: data})
    if is_data_set(data):
        return Table("Dataset", lambda: _rows_of_batches(_batches_of(data)))
    if is_arrow(data):
        return Table("Table", lambda: _rows_of_batches(_slices_of(data)))
    if is_columns(data):
        return _of_columns("columns", data)
    if isinstance(data, list | tuple) and data and all(isinstance(row, Mapping) for row in data):
        return Table("list", lambda: ({str(k): plain(v) for k, v in row.items()} for row in data))
    raise DataError(f"data must be files or rows, got {_described(data)}.", remedy=_KINDS)


def pairs(texts: object, labels: object, names: tuple[str, str]) -> Table:
    """Rows of texts and of what is to be predicted for each.

    Args:
        texts: one a row.
        labels: one a row.
        names: names of the two columns.

    Raises:
        DataError: they are not two columns of the same length.
    """
    for name, column in (("texts", texts), ("labels", labels)):
        if not is_column(column):
            raise DataError(
                f"{name} must be a list, an array or a Series, got {_described(column)}.",
                remedy='Give one value a row. To name the column of a table, write `label="COLUMN"`.',
            )
    return _of_columns("lists", dict(zip(names, (texts, labels), strict=True)))


_KINDS = (
    'Give a file, a DataFrame, a Series, a `datasets.Dataset`, a list of rows (`[{"text": …, "label": …}]`), '
    'columns (`{"text": […], "label": […]}`), or `train(texts, labels=labels)`.'
)


def _of_columns(kind: str, columns: Mapping[str, Any]) -> Table:
    lengths = {str(name): len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"`{name}` has {n:,}" for name, n in lengths.items())
        raise DataError(
            f"columns must have one value a row, and their lengths differ: {said}.", remedy="Fix the lengths."
        )

    def rows() -> Iterator[JsonObject]:
        for values in zip(*(column for column in columns.values()), strict=True):
            yield dict(zip(lengths, map(plain, values), strict=True))

    return Table(kind, rows)


def _rows_of_frame(frame: Any) -> Iterator[JsonObject]:
    names = [str(name) for name in frame.columns]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(
            f"the columns of a DataFrame must have different names, and `{twice}` occurs twice.",
            remedy="Rename one of them.",
        )
    for begin in range(0, len(frame), _BATCH_ROWS):
        part = frame.iloc[begin : begin + _BATCH_ROWS]
        columns = [part.iloc[:, i].tolist() for i in range(len(names))]
        for values in zip(*columns, strict=True):
            yield dict(zip(names, map(plain, values), strict=True))


def _batches_of(data: Any) -> Iterator[Any]:
    """The Arrow tables of a data set, whatever its format is set to; names of labels stand in their schema."""
    schema = data.features.arrow_schema
    for table in data.with_format("arrow").iter(batch_size=_BATCH_ROWS):
        yield table.replace_schema_metadata(schema.metadata)


def _slices_of(table: Any) -> Iterator[Any]:
    return (table.slice(begin, _BATCH_ROWS) for begin in range(0, table.num_rows, _BATCH_ROWS))


def _rows_of_batches(batches: Iterator[Any]) -> Iterator[JsonObject]:
    for batch in batches:
        convert = row_converter(batch.schema)
        for values in batch.to_pylist():
            yield {name: plain(value) for name, value in convert(values).items()}


def _described(data: object) -> str:
    """What an object is, without its content."""
    if isinstance(data, str):
        return f"the text `{data[:_SHOWN_CHARACTERS]}{'…' if len(data) > _SHOWN_CHARACTERS else ''}`"
    if isinstance(data, list | tuple):
        return f"`{type(data).__name__}` of `{type(data[0]).__name__}`" if data else "an empty list"
    return f"`{type(data).__name__}`"


def _is_of(library: str, name: str, data: object) -> bool:
    kind = getattr(sys.modules.get(library), name, None)
    return isinstance(kind, type) and isinstance(data, kind)
