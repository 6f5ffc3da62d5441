"""What a task is. One file in this folder defines one; nothing elsewhere knows a task by its name.

A task says which columns it reads, which model class it needs, how rows become token ids, what the loss and
the metrics are, and how logits become answers. A metric is written as per-example statistics that add up,
and a formula on their sums: the same two functions give scores, bootstrap intervals, slices and
comparisons, exactly and fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from tunesmith.metrics import total
from tunesmith.registry import Registry

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.metrics import Scores, Statistics

Values = Mapping[str, Any]
"""One row, or a batch of rows, by the task's column names."""

Targets = Mapping[str, Any]
"""What a task learned from the training rows (label names, say); JSON, saved with the run."""

Prediction = dict[str, Any]
"""One answer, in the shape of the Hub's inference type for the task."""


class RowError(ValueError):
    """A row cannot be used; the message says why, as the end of `line 3: …`."""


@dataclass(frozen=True)
class Column:
    """One column of a task.

    Args:
        name: the task's name for it.
        kind: free text, or one of few values; used when no column has a usual name.
        aliases: usual names, the most usual first.
        required: whether the task can do without.
    """

    name: str
    kind: Literal["text", "category"]
    aliases: tuple[str, ...] = ()
    required: bool = True
    target: bool = False


@dataclass(frozen=True)
class TextOptions:
    """How texts become token ids: what, besides the texts and the tokenizer, an encoding depends on."""

    max_length: int | None


class Task(Protocol):
    """What every task's file provides, as its object `task`."""

    name: str
    summary: str
    columns: tuple[Column, ...]
    auto_class: str
    """The class of transformers that loads the model: `AutoModelForSequenceClassification`."""
    primary_metric: str
    greater_is_better: bool
    probe: Literal["logistic_regression"] | None
    """What fits the head on frozen features, where the task's head is linear."""
    baselines: tuple[str, ...]
    """Names in `tunesmith.evaluation.baselines` that the result is set beside."""

    def read(self, row: Values) -> dict[str, Any]:
        """One row's values, cleaned, by column name; raises RowError where it cannot be used."""

    def learn_targets(self, train: Values) -> Targets:
        """What the model's head needs to know of the training columns; raises DataError if unfit."""

    def check_targets(self, row: Values, targets: Targets) -> None:
        """Raises RowError when a row's target is not among those learned."""

    def config(self, targets: Targets) -> dict[str, Any]:
        """Entries of the model's config: `id2label`, `num_labels`, …."""

    def targets_of(self, config: Any) -> Targets:
        """The targets a saved model's config tells."""

    def encode(self, batch: Values, tokenizer: Any, options: TextOptions) -> dict[str, list[Any]]:
        """Token ids of a batch of rows: `input_ids` [rows][tokens], …."""

    def label_array(self, train: Values, targets: Targets) -> NDArray[np.int64]:
        """The labels the loss compares with, one entry a row."""

    def items(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many items of the loss each row holds; their sum over a batch is its denominator."""

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss summed over the items of a batch (never a mean)."""

    def decode(self, logits: NDArray[np.float32], targets: Targets) -> list[Prediction]:
        """Answers, one a row."""

    def gold(self, labels: NDArray[np.int64], targets: Targets) -> list[Any]:
        """The true answers, in the spelling of the data."""

    def is_correct(self, prediction: Prediction, gold: Any) -> bool:
        """Whether an answer is right, for the list of errors."""

    def details(
        self, logits: NDArray[np.float32], labels: NDArray[np.int64], targets: Targets
    ) -> dict[str, Any]:
        """What the report shows besides the metrics, by the name of the section that draws it."""

    def statistics(
        self, logits: NDArray[np.float32], labels: NDArray[np.int64], targets: Targets
    ) -> Statistics:
        """Per-example statistics [rows, statistics] that add up to what the formula needs."""

    def formula(self, sums: NDArray[np.float64], targets: Targets) -> Scores:
        """Metrics from summed statistics [..., statistics]."""


TASKS: Registry[Task] = Registry("tunesmith.tasks", "task")


def point_scores(
    task: Task, logits: NDArray[np.float32], labels: NDArray[np.int64], targets: Targets
) -> dict[str, float]:
    """Every metric of the task, without intervals."""
    sums = total(task.statistics(logits, labels, targets))
    return {name: float(value) for name, value in task.formula(sums, targets).items()}
