"""The truncation report: what `data.max_length` takes from the rows of a split, and which rows teach nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tunesmith.encoded import Encoded, Lost
from tunesmith.errors import DataError
from tunesmith.tasks import Task

_SHOWN_ROWS = 5


@dataclass(frozen=True)
class TruncationReport:
    """What `max_length` truncates in one split.

    Args:
        max_length: most tokens of a sequence.
        rows: number of rows in the split.
        rows_cut: number of rows that are truncated.
        rows_windowed: number of rows that became several sequences.
        rows_without: number of rows with nothing left to learn from.
        without: locations of the first of them.
        sequences: number of sequences that the rows became.
        tokens: number of tokens of all rows before truncation.
        lost: (number lost, total number) by kind: `tokens`, `entities`, `answers`, ….
    """

    max_length: int
    rows: int
    rows_cut: int
    rows_windowed: int
    rows_without: int
    sequences: int
    tokens: int
    lost: Lost
    without: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing was truncated."""
        return not self.rows_without and not any(gone for gone, _ in self.lost.values())

    def __str__(self) -> str:
        parts = []
        if self.rows_cut:
            share = self.rows_cut / self.rows
            parts.append(f"{self.rows_cut} of {self.rows} texts ({share:.1%}) are cut")
        if self.rows_windowed:
            parts.append(f"{self.rows_windowed} of {self.rows} texts are read in windows")
        parts += [
            f"{gone} of {total} {name} ({gone / total:.1%}) are lost"
            for name, (gone, total) in self.lost.items()
            if gone
        ]
        if self.rows_without:
            named = f" ({'; '.join(self.without)}{'; …' if self.rows_without > len(self.without) else ''})"
            parts.append(
                f"{self.rows_without} rows have nothing left to learn from{named if self.without else ''}"
            )
        if not parts:
            return f"nothing is truncated at max_length {self.max_length}"
        return f"at max_length {self.max_length}, " + ", ".join(parts)


def survey(
    task: Task,
    full: Encoded,
    cut: Encoded,
    max_length: int,
    too_long: str = "window",
    location: Callable[[int], str] | None = None,
) -> TruncationReport:
    """The truncation report: rows encoded in full compared with rows encoded within `max_length`.

    Args:
        task: task of the rows.
        full: rows in full.
        cut: rows within `max_length`.
        max_length: most tokens of a sequence.
        too_long: `cut` where a task with windows cuts instead.
        location: function from a row to its location.
    """
    before, after = full.sum_by_row(full.lengths), cut.sum_by_row(cut.lengths)
    items_before, items_after = (e.sum_by_row(task.num_items(e)) for e in (full, cut))
    windows = np.bincount(cut.rows, minlength=cut.n_rows)
    tokens = int(before.sum())
    lost = dict(cut.lost)
    in_windows = task.windows and too_long == "window"
    gone = np.zeros(full.n_rows) if in_windows else np.maximum(before - after, 0)
    empty = np.flatnonzero(items_after == 0)
    if gone.any():
        lost = {"tokens": (int(gone.sum()), tokens), **lost}
    if task.item and items_after.sum() < items_before.sum():
        lost[task.item] = (int(items_before.sum() - items_after.sum()), int(items_before.sum()))
    return TruncationReport(
        max_length=max_length,
        rows=full.n_rows,
        rows_cut=int((gone > 0).sum()),
        rows_windowed=int((windows > 1).sum()),
        rows_without=len(empty),
        without=tuple(location(int(row)) for row in empty[:_SHOWN_ROWS]) if location else (),
        sequences=len(cut),
        tokens=tokens,
        lost=lost,
    )


def refuse_nothing_to_learn(task: Task, full: Mapping[str, Encoded]) -> None:
    """Refuses a split whose rows hold nothing to learn from, whatever their length.

    Raises:
        DataError: there is such a split.
    """
    for name, encoded in full.items():
        if not task.num_items(encoded).any():
            raise DataError(
                f"there is nothing to learn from: none of the {encoded.n_rows} {name} rows has "
                f"{task.item or 'a label'}.",
                remedy=f"Give rows with {task.item or 'labels'}: docs/tasks.md says what `{task.name}` learns.",
            )


def refuse_nothing_left(truncation: Mapping[str, TruncationReport]) -> None:
    """Refuses a split whose rows all lose what they hold.

    Raises:
        DataError: there is such a split.
    """
    for name, found in truncation.items():
        if found.rows_without == found.rows:
            raise DataError(
                f"nothing is left to learn from: all {found.rows} {name} rows lose their labels at "
                f"max_length {found.max_length}.",
                remedy="Give a larger `data.max_length`, or a model that reads longer texts.",
            )
