"""What the result is compared with, so that everyone sees whether fine-tuning was worth it.

A file in this folder is a baseline; its name is the key in metrics.json. A baseline learns from the training rows
and answers the rows that count in the model's place, with logits or with texts. Where answers depend on
thresholds, each baseline has its own, fitted on its answers to the validation rows as the model's are: with those
of the model, the same outputs score 0.9 or 0.5. Baselines are cheap on purpose. Two need the model (`base_model`
and `probe`): the pipeline computes their scores, and their files declare them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import METRICS, Statistics, total
from tunesmith.registry import Registry
from tunesmith.tasks import EvalPredictions, LabelSchema, Task, Values, point_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import Array, JsonObject


@dataclass(frozen=True)
class TrainingRows:
    """What a baseline learns from.

    Args:
        columns: The rows, by the task's columns.
        labels: [rows, …], as the loss has them, where each row has one sequence.
        inputs: The columns that hold the text.
        n_outputs: k.
    """

    columns: Values
    labels: Array
    inputs: Sequence[str]
    n_outputs: int
    memo: JsonObject = field(init=False, default_factory=dict, compare=False)
    """What a baseline has learned of them already; it answers validation rows and the rows that count."""


Answer = Callable[[TrainingRows, EvalPredictions], EvalPredictions]
"""From the training rows, and rows to answer, to the same rows with outputs or texts."""


@dataclass(frozen=True)
class Baseline:
    """One baseline.

    Args:
        label: Its name for people, in the report.
        answer: How it answers; None where it needs the model, so that the pipeline computes its scores.
        short: Its name within a sentence (`the probe`); the label if empty.
    """

    label: str
    answer: Answer | None = None
    short: str = ""

    @property
    def name_in_text(self) -> str:
        """Its name within a sentence."""
        return self.short or self.label


BASELINES: Registry[Baseline] = Registry(
    "tunesmith.evaluation.baselines", "baseline", Baseline, hyphens=False
)


def with_logits(evaluated: EvalPredictions, logits: Array) -> EvalPredictions:
    """The rows with the same logits [k] as the output of each."""
    return replace(evaluated, outputs=np.tile(logits.astype(np.float32), (len(evaluated.encoded), 1)))


@dataclass(frozen=True)
class RowStatistics:
    """What a baseline's metrics are computed from, row by row, so that it can be compared with the model.

    Args:
        task: Task whose metrics are computed.
        statistics: [rows, s], statistics of the rows.
        label_schema: The task's label schema, with the thresholds of the baseline.
    """

    task: Task
    statistics: Statistics
    label_schema: LabelSchema

    @classmethod
    def of(cls, task: Task, evaluated: EvalPredictions, label_schema: LabelSchema) -> RowStatistics:
        """The statistics of answered rows."""
        return cls(task, task.statistics(evaluated, label_schema), label_schema)

    def of_rows(self, rows: NDArray[np.int64]) -> RowStatistics:
        """Those of some rows."""
        return replace(self, statistics=self.statistics[rows])

    def scores(self) -> dict[str, float]:
        """Every metric of the task."""
        values = self.task.formula(total(self.statistics), self.label_schema)
        return {METRICS.get(name).name: float(value) for name, value in values.items()}


def own_statistics(
    task: Task, final: EvalPredictions, validation: Callable[[], EvalPredictions], label_schema: LabelSchema
) -> RowStatistics:
    """The statistics of a baseline on the rows that count, with thresholds of its own.

    Fitted thresholds can be worse than none: where the answer is the same for every row, each label's best F1 is
    to give it always. So those that score better on the validation rows are taken; the fitted ones at a tie.

    Args:
        task: Task whose metrics are computed.
        final: The rows that count, as the baseline answers them.
        validation: The validation rows, as it answers them; not called where nothing is to fit.
        label_schema: What the task learned from the training rows, without fitted thresholds.
    """
    if task.thresholds:
        evaluated = validation()
        primary = task.primary_for(label_schema)
        sign = 1 if METRICS.get(primary).greater_is_better else -1
        label_schema = max(
            (task.thresholds.fit(evaluated, label_schema), label_schema),
            key=lambda found: sign * point_scores(task, evaluated, found)[primary],
        )
    return RowStatistics.of(task, final, label_schema)
