"""Files of predictions: JSON lines, CSV, TSV and Parquet, written line by line, so that memory does not grow.

A column may first occur in any line, and the header of a table comes first. So the lines of a table wait in an
unnamed file until the last one is known.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tunesmith.types import JsonObject

_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?")
_ROWS_AT_ONCE = 4096
_LAST = ("truncated", "error")
"""Columns that come last, and are there even if they are empty."""


def write_json_lines(lines: Iterable[JsonObject], handle: IO[str]) -> int:
    """Writes lines at once, and returns their number."""
    count = 0
    for line in lines:
        handle.write(json.dumps(line, ensure_ascii=False) + "\n")
        count += 1
    return count


def write_csv(lines: Iterable[JsonObject], handle: IO[str]) -> int:
    """Writes lines as CSV with one header; nested values as JSON, formulas as text."""
    return _write_table(lines, handle, ",")


def write_tsv(lines: Iterable[JsonObject], handle: IO[str]) -> int:
    """Writes lines as CSV does, with tabs between the values."""
    return _write_table(lines, handle, "\t")


def _write_table(lines: Iterable[JsonObject], handle: IO[str], delimiter: str) -> int:
    with _waiting(lines) as (names, count, again):
        writer = csv.DictWriter(_LineEnds(handle), names, lineterminator="\r\n", delimiter=delimiter)
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in line.items()} for line in again())
    return count


def write_parquet(lines: Iterable[JsonObject], path: Path) -> int:
    """Writes lines as Parquet, and returns their number; a column of values of several types is text, as JSON."""
    import pyarrow.parquet

    with _waiting(lines) as (names, count, again):
        schema, as_text = _schema(names, again())
        with pyarrow.parquet.ParquetWriter(path, schema) as writer:
            for some in _chunks(again()):
                writer.write_table(_as_table(some, names, as_text, schema))
    return count


def _schema(names: list[str], lines: Iterator[JsonObject]) -> tuple[Any, set[str]]:
    """The schema of all lines, and the columns that are written as text for their values have several types."""
    import pyarrow as pa

    types: dict[str, Any] = dict.fromkeys(names, pa.null())
    as_text: set[str] = set()
    for some in _chunks(lines):
        for name in names:
            try:
                found = pa.array([line.get(name) for line in some]).type
                merged = pa.unify_schemas(
                    [pa.schema([(name, types[name])]), pa.schema([(name, found)])],
                    promote_options="permissive",
                )
                types[name] = merged.field(name).type
            except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
                as_text.add(name)
    fields = [(n, pa.string() if n in as_text or pa.types.is_null(types[n]) else types[n]) for n in names]
    return pa.schema(fields), as_text


def _as_table(lines: list[JsonObject], names: list[str], as_text: set[str], schema: Any) -> Any:
    import pyarrow as pa

    columns = {
        name: [
            json.dumps(line[name], ensure_ascii=False) if name in as_text and name in line else line.get(name)
            for line in lines
        ]
        for name in names
    }
    return pa.table(columns, schema=schema)


def _chunks(lines: Iterator[JsonObject]) -> Iterator[list[JsonObject]]:
    while some := list(itertools.islice(lines, _ROWS_AT_ONCE)):
        yield some


@contextmanager
def _waiting(
    lines: Iterable[JsonObject],
) -> Iterator[tuple[list[str], int, Callable[[], Iterator[JsonObject]]]]:
    """The names of all columns, the number of lines, and the lines again, as often as they are asked for."""
    header = dict.fromkeys(["row"])
    count = 0
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass") as waiting:
        for line in lines:
            header |= dict.fromkeys(line)
            waiting.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1

        def again() -> Iterator[JsonObject]:
            waiting.seek(0)
            return (json.loads(line) for line in waiting)

        yield [*(name for name in header if name not in _LAST), *_LAST], count, again


class _LineEnds:
    """Ends rows with only a line feed; the csv module quotes a carriage return only if rows end with one too.

    Args:
        handle: file to write to.
    """

    def __init__(self, handle: IO[str]) -> None:
        self._handle = handle

    def write(self, row: str) -> int:
        """Writes one row."""
        return self._handle.write(row.removesuffix("\r\n") + "\n")


def _cell(value: object) -> object:
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def _is_formula(text: str) -> bool:
    """Whether a spreadsheet would compute a cell or run a command: the rule of OWASP's CSV injection page."""
    return text.startswith(("=", "+", "-", "@", "\t", "\r")) and not _NUMBER.fullmatch(text)


TEXT_FORMATS: dict[str, Callable[[Iterable[JsonObject], IO[str]], int]] = {
    "jsonl": write_json_lines,
    "csv": write_csv,
    "tsv": write_tsv,
}
"""The formats that are text, by name, which is also the ending."""

FORMATS = (*TEXT_FORMATS, "parquet")
"""Every format; Parquet needs a file."""


def write_file(lines: Iterable[JsonObject], path: Path, format_name: str) -> int:
    """Writes lines to a file that appears once it is whole, and returns their number.

    Args:
        lines: the lines.
        path: file to write; an earlier one is replaced.
        format_name: one of `FORMATS`.
    """
    aside = path.with_name(f".{path.name}.part")
    try:
        if format_name == "parquet":
            count = write_parquet(lines, aside)
        else:
            with aside.open("w", encoding="utf-8", newline="") as handle:
                count = TEXT_FORMATS[format_name](lines, handle)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return count
