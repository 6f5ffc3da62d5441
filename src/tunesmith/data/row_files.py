"""Files of rows that any tool reads, and that are read back as the same rows: JSON lines, CSV, TSV, Parquet.

They are written a chunk at a time, and appear when they are whole. In a table, a list or an object is a cell of
JSON.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import RecipeError

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Callable[[], Iterable[Mapping[str, Any]]]
"""Gives the rows, as often as it is called: the columns of a table must be known before its first row."""

_ROWS_AT_ONCE = 4096


def refuse_ending(path: Path) -> None:
    """Raises RecipeError for a file of rows whose ending says no format that can be written."""
    if path.suffix.lower() not in _WRITERS:
        raise RecipeError(
            f"`{path}` must end in {', '.join(_WRITERS)}.",
            remedy="Name a file of one of these formats, or a folder for the files of all splits.",
        )


def can_write(ending: str) -> bool:
    """Whether there is a writer for an ending, with its dot."""
    return ending.lower() in _WRITERS


def write_rows(path: Path, rows: Rows) -> int:
    """Writes rows to a file, and returns their number.

    Args:
        path: file to write, of one of the endings .jsonl, .csv, .tsv, .parquet.
        rows: gives the rows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    try:
        count = _WRITERS[path.suffix.lower()](aside, rows)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return count


def _write_json_lines(path: Path, rows: Rows) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as handle:
        for count, row in enumerate(rows(), start=1):  # noqa: B007
            handle.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
    return count


def _write_csv(path: Path, rows: Rows) -> int:
    return _write_table(path, rows, ",")


def _write_tsv(path: Path, rows: Rows) -> int:
    return _write_table(path, rows, "\t")


def _write_table(path: Path, rows: Rows, delimiter: str) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, _names(rows()), delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        for count, row in enumerate(rows(), start=1):  # noqa: B007
            writer.writerow({name: _cell(value) for name, value in row.items()})
    return count


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else value


def _write_parquet(path: Path, rows: Rows) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, as_text = _schema(rows())
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        for some in _chunks(rows()):
            columns = [pa.array(_values(some, field.name, as_text), field.type) for field in schema]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            count += len(some)
    return count


def _values(rows: Iterable[Mapping[str, Any]], name: str, as_text: set[str]) -> list[Any]:
    values = [row.get(name) for row in rows]
    return [_as_text(value) for value in values] if name in as_text else values


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, default=str)


def _schema(rows: Iterable[Mapping[str, Any]]) -> tuple[pa.Schema, set[str]]:
    """The type of each column, and the columns whose values have several types and are written as text."""
    import pyarrow as pa

    schema, as_text = pa.schema([]), set()
    for some in _chunks(rows):
        for name in _names(some):
            try:
                found = pa.schema([pa.field(name, pa.array([row.get(name) for row in some]).type)])
                schema = pa.unify_schemas([schema, found], promote_options="permissive")
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                as_text.add(name)
    without_type = as_text | {field.name for field in schema if pa.types.is_null(field.type)}
    names = dict.fromkeys([*schema.names, *sorted(as_text)])
    types = {name: pa.string() if name in without_type else schema.field(name).type for name in names}
    return pa.schema(list(types.items())), as_text


def _chunks(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    remaining = iter(rows)
    while some := list(itertools.islice(remaining, _ROWS_AT_ONCE)):
        yield some


def _names(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of all columns, in the order in which they first occur."""
    return list(dict.fromkeys(name for row in rows for name in row))


_WRITERS: dict[str, Callable[[Path, Rows], int]] = {
    ".jsonl": _write_json_lines,
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".parquet": _write_parquet,
}
