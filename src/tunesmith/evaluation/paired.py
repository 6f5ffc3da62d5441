"""Two models, or a model and a baseline, on the same rows: how much better one is, with a paired interval."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluation.intervals import Interval, Method, paired_drop
from tunesmith.metrics import METRICS, Statistics
from tunesmith.tasks import LabelSchema, Task


class Rows(Protocol):
    """Rows with the statistics of a model's answers: `Scored`, `RowStatistics`."""

    @property
    def task(self) -> Task:
        """Task whose metrics are computed."""
        ...

    @property
    def statistics(self) -> Statistics:
        """[rows, s], statistics of the rows."""
        ...

    @property
    def label_schema(self) -> LabelSchema:
        """The task's label schema, with the thresholds of the model."""
        ...


def gain(first: Rows, second: Rows, method: Method, *, groups: NDArray[np.int64] | None) -> Interval:
    """How much better the first is than the second in the primary metric; below 0 if it is worse.

    Args:
        first: rows as one model answers them.
        second: the same rows, as another model answers them.
        method: confidence level, number of resamples and seed.
        groups: [rows], number of each row's group; None if every row is a group of its own.
    """
    task, metric = first.task, first.task.primary_for(first.label_schema)
    found = paired_drop(
        _beside(first.statistics, second.statistics),
        (
            lambda sums: task.formula(sums, first.label_schema),
            lambda sums: task.formula(sums, second.label_schema),
        ),
        (task.shares(first.label_schema), task.shares(second.label_schema)),
        metric,
        method,
        groups=groups,
    )
    if METRICS.get(metric).greater_is_better:
        return found
    return Interval(-found.value, -found.high, -found.low)


def _beside(first: Statistics, second: Statistics) -> Statistics:
    """[rows, 2s], two statistics [rows, s] side by side, sparse if they are."""
    from scipy import sparse

    if sparse.issparse(first):
        return sparse.csr_matrix(sparse.hstack([first, second]))
    return np.concatenate([first, second], axis=1)
