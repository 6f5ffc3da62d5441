"""Rows that are encoded and wait for the model: joined to batches, or parted from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.data.examples import Examples
from tunesmith.encoded import Encoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tunesmith.tasks import Task
    from tunesmith.types import JsonObject


@dataclass(frozen=True)
class Prepared:
    """Encoded rows.

    Args:
        columns: values of the rows by column.
        encoded: their sequences.
        is_cut: [rows], whether a row was truncated.
        tokens: [rows], tokens of the longest text of a row, before it was truncated.
    """

    columns: Mapping[str, Sequence[Any]]
    encoded: Encoded
    is_cut: NDArray[np.bool_]
    tokens: NDArray[np.int64]

    def __len__(self) -> int:
        return self.encoded.n_rows

    @cached_property
    def sequences(self) -> NDArray[np.int64]:
        """[rows], number of sequences of each."""
        return np.bincount(self.encoded.rows, minlength=len(self))

    @cached_property
    def longest(self) -> NDArray[np.int64]:
        """[rows], tokens of the longest sequence that the model computes."""
        found = np.zeros(len(self), dtype=np.int64)
        np.maximum.at(found, self.encoded.rows, self.encoded.lengths)
        return found

    @cached_property
    def read(self) -> NDArray[np.int64]:
        """[rows], tokens of the longest sequence that the model reads at once."""
        found = np.zeros(len(self), dtype=np.int64)
        np.maximum.at(found, self.encoded.rows, self.encoded.longest_read)
        return found

    @cached_property
    def costs(self) -> NDArray[np.int64]:
        """[rows], tokens that the model computes."""
        return np.bincount(self.encoded.rows, weights=self.encoded.lengths, minlength=len(self)).astype(
            np.int64
        )

    def size_of(self, row: int) -> tuple[int, int, int]:
        """Of a row: the tokens of its longest sequence, the number of its sequences, and all their tokens."""
        return int(self.longest[row]), int(self.sequences[row]), int(self.costs[row])

    @property
    def kind(self) -> tuple[str, ...]:
        """The names of the columns and fields: rows of one kind can be joined."""
        return (*self.columns, "", *self.encoded.ragged, "", *self.encoded.dense)

    def take(self, rows: NDArray[np.int64]) -> Prepared:
        """The given rows, which are in rising order."""
        if len(rows) == len(self):
            return self
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return Prepared(columns, self.encoded.of_rows(rows), self.is_cut[rows], self.tokens[rows])

    @classmethod
    def join(cls, parts: Sequence[Prepared]) -> Prepared:
        """The rows of all parts, which are of one kind."""
        if len(parts) == 1:
            return parts[0]
        columns = {
            name: [value for part in parts for value in part.columns[name]] for name in parts[0].columns
        }
        return cls(
            columns,
            Encoded.join([part.encoded for part in parts]),
            np.concatenate([part.is_cut for part in parts]),
            np.concatenate([part.tokens for part in parts]),
        )


def as_examples(task: Task, rows: list[JsonObject]) -> Examples:
    """Rows that a task has read, as the columns that are encoded."""
    names = [name for name in task.inputs if any(name in row for row in rows)]
    n = len(rows)
    return Examples(
        {name: [row.get(name) for row in rows] for name in names},
        ("",),
        np.zeros(n, dtype=np.int32),
        np.arange(1, n + 1, dtype=np.int64),
    )
