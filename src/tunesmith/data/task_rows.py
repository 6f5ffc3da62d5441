"""Rows of any sources as files that have the task's own columns, so that rows of several sources become one file.

A row is written as the task gets it, before it reads it: the file's columns have the task's names, and layouts
of whole rows (a column a label, Alpaca) are resolved. Reading the file again gives the same example. Other columns
are written with it, and `origin` says which file and line the row is from.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.data.columns import choose_view
from tunesmith.data.examples import Examples
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.reading import read_rows, read_sample
from tunesmith.data.row_files import write_rows
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.tasks import LabelSchema, Task
    from tunesmith.types import JsonObject

ORIGIN = "origin"
"""Column that says where a row is from."""
_SAMPLE_ROWS = 500


@dataclass(frozen=True)
class TakenRows:
    """Some rows of some sources.

    Args:
        sources: files, folders or Hub names.
        options: how they were read.
        examples: rows that were read from them.
        rows: numbers of the rows to take.
        label_schema: what was learned, where these are not the training rows.
    """

    sources: Sequence[str]
    options: ReadOptions
    examples: Examples
    rows: NDArray[np.int64]
    label_schema: LabelSchema | None = None

    def values(self, task: Task) -> Iterator[JsonObject]:
        """The rows by the task's columns, in the order of the sources."""
        numbers = self._numbers()
        for source in self.sources:
            for key, values in _values(task, source, self.options, self.label_schema):
                if (number := numbers.get(key)) is not None:
                    yield {**values, **self._extra(task, number), ORIGIN: self._origin(number)}

    def _numbers(self) -> dict[tuple[str, int], int]:
        """The number of each wanted row, by its file and line."""
        files, index, lines = self.examples.files, self.examples.file_index, self.examples.lines
        return {(files[index[row]], int(lines[row])): int(row) for row in self.rows}

    def _origin(self, row: int) -> str:
        """Where a row is from at first: a row of an earlier merge names its own origin."""
        known = self.examples.extra.get(ORIGIN)
        return str(known[row]) if known is not None and known[row] else self.examples.row_id(row)

    def _extra(self, task: Task, row: int) -> JsonObject:
        """The other columns, also where a row has no value: a slice must be a column of each file."""
        own = {column.name for column in task.columns}
        return {name: values[row] for name, values in self.examples.extra.items() if name not in own}


def write_task_rows(path: Path, task: Task, parts: Sequence[TakenRows]) -> int:
    """Writes rows to a file of JSON lines, and returns their number.

    Args:
        path: file to write.
        task: task that reads the rows.
        parts: rows, one part after the other.

    Raises:
        DataError: a source has changed since its rows were read.
    """
    written = write_rows(path, lambda: itertools.chain.from_iterable(part.values(task) for part in parts))
    wanted = sum(len(part.rows) for part in parts)
    if written != wanted:
        raise DataError(
            f"{wanted:,} rows were read, and {written:,} of them are still there.",
            remedy="Do not change the files while they are read.",
        )
    return written


def own_columns(task: Task, paths: Sequence[Path]) -> JsonObject:
    """`data.columns` for files of `write_task_rows`: the task's columns that every row of the sample has."""
    names = [column.name for column in task.columns]
    for path in paths:
        _, sample = read_sample(read_rows(str(path)), _SAMPLE_ROWS)
        names = [name for name in names if all(row.get(name) is not None for row in sample)]
    return {name: name for name in names}


def _values(
    task: Task, source: str, options: ReadOptions, label_schema: LabelSchema | None
) -> Iterator[tuple[tuple[str, int], JsonObject]]:
    """Every usable row of a source by the task's columns, with its file and line."""
    rows = read_rows(source)
    head, sample = read_sample(rows, _SAMPLE_ROWS)
    if not sample:
        return
    view = choose_view(task, sample, options, location=head[0][0], label_schema=label_schema)
    for file, row in itertools.chain(head, rows):
        if not row.problem:
            yield (file, row.line), _without_nothing(view.values(row.values))


def _without_nothing(values: Mapping[str, Any]) -> JsonObject:
    return {name: value for name, value in values.items() if value is not None}
