"""What a task makes of answered rows, without intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.metrics import METRICS, total

if TYPE_CHECKING:
    from tunesmith.tasks import Task
    from tunesmith.tasks._types import EvalPredictions, LabelSchema, Prediction


def point_scores(task: Task, evaluated: EvalPredictions, label_schema: LabelSchema) -> dict[str, float]:
    """Every metric of the task, without intervals.

    Raises:
        UnknownNameError: The task's formula has a metric that no file in `tunesmith.metrics` declares.
    """
    sums = total(task.statistics(evaluated, label_schema))
    return {METRICS.get(name).name: float(value) for name, value in task.formula(sums, label_schema).items()}


def best_metric(task: Task, label_schema: LabelSchema) -> tuple[str, bool]:
    """The metric that chooses the best step, and whether greater is better."""
    name = task.selection_metric or task.primary_for(label_schema)
    return name, METRICS.get(name).greater_is_better


def head_scale(task: Task, label_schema: LabelSchema) -> tuple[float, float]:
    """Centre and scale of the head's outputs; 0 and 1 for a task without a probe."""
    return task.probe.head_scale(label_schema) if task.probe is not None else (0.0, 1.0)


def best_answer(task: Task, prediction: Prediction) -> Prediction:
    """A prediction without the alternatives to its best answer."""
    hidden = task.alternatives.key if task.alternatives is not None else None
    return {key: value for key, value in prediction.items() if key != hidden}
