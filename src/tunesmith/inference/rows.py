"""Rows of a source as a predictor reads them: the columns of the training, without what is to be predicted."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.data.columns import View, choose_view, has_alternatives
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.reading import Row, read_rows, read_sample
from tunesmith.errors import DataError
from tunesmith.tasks import RowError, Task, Values

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

CHUNK_ROWS = 2048
"""Rows that are read ahead, and computed in an order of their own."""

_SAMPLE_ROWS = 500
_DATA_FILES = (
    ".csv",
    ".tsv",
    ".json",
    ".jsonl",
    ".ndjson",
    ".parquet",
    ".arrow",
    ".feather",
    ".xlsx",
    ".txt",
)
_NOTHING = View({}, dict)


def view_of(task: Task, sample: Sequence[Values], options: ReadOptions, *, location: str) -> View:
    """How the rows are read; without a sample, every row has a problem of its own."""
    if not sample:
        return _NOTHING
    return choose_view(task, sample, options, location=location, need_targets=False)


def read_inputs(task: Task, needed: Sequence[str], row: Row, view: View) -> JsonObject:
    """A row as the task reads it, for a prediction.

    Args:
        task: task of the model.
        needed: columns that the row must have.
        row: a row of a file.
        view: how it is read.

    Raises:
        RowError: the row cannot be used.
    """
    if row.problem:
        raise RowError(row.problem)
    inputs = {column.name for column in task.columns if not column.target}
    values = {name: value for name, value in view.values(row.values).items() if name in inputs}
    if missing := [name for name in needed if name not in values]:
        raise RowError(f"this model was trained with `{missing[0]}`, and the row has no value for it.")
    return task.read(values)


def inputs_of(
    source: str, task: Task, needed: Sequence[str], remembered: Sequence[Values]
) -> Iterator[JsonObject]:
    """Every row of a source, for predictions.

    Args:
        source: a file, a folder, an object in memory.
        task: task of the model.
        needed: columns that every row must have.
        remembered: columns that the model was trained with.

    Raises:
        DataError: the source, a column or a row cannot be used.
    """
    rows = read_rows(source)
    head, sample = read_sample(rows, _SAMPLE_ROWS)
    if not head:
        return
    view = view_of(task, sample, ReadOptions(remembered=remembered), location=head[0][0])
    for file, row in itertools.chain(head, rows):
        try:
            yield read_inputs(task, needed, row, view)
        except RowError as error:
            raise DataError(
                f"the row cannot be used: {error}",
                location=row.location(file),
                remedy="Fix it, or leave it out.",
            ) from None


def needed_inputs(task: Task, columns: Sequence[JsonObject]) -> tuple[str, ...]:
    """The inputs that every row must have: the required ones, and the optional ones used in training."""
    trained = set(columns[0]) if columns and not has_alternatives(task) else set()
    inputs = [c for c in task.columns if not c.target and (not c.together or c.required)]
    return tuple(c.name for c in inputs if c.required or c.name in trained)


def refuse_file(text: str) -> None:
    """Raises RowError for the name of a data file, which is more likely meant as the file than as a text."""
    if Path(text).suffix in _DATA_FILES and os.path.isfile(text):
        raise RowError(f"`{text}` is a file; for its rows, give `Path({text!r})`.")
