"""Held-out rows of the task that a model had learned before, as it answered them then and as it does now."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.evaluation.baselines import RowStatistics
from tunesmith.tasks import Task

Pair = tuple[RowStatistics, RowStatistics]
"""The rows before the training, and after it."""


@dataclass(frozen=True)
class Previous:
    """What is left of the previous task.

    Args:
        run: name of the run that learned it.
        task: the previous task.
        n_rows: number of held-out rows.
        head: answers of the head of that run, on what its encoder gives and on what the new one gives.
        probe: answers of linear probes that were fitted on the other half of the rows, on both encoders.
    """

    run: str
    task: Task
    n_rows: int
    head: Pair
    probe: Pair
