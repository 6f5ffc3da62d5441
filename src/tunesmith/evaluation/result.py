"""`metrics.json`: the scores of the saved model on every split, with those of baselines."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.evaluation.baselines import BASELINES, TrainingRows, own_scores
from tunesmith.evaluation.scoring import Scored, score_slices
from tunesmith.metrics import METRICS
from tunesmith.recipe import EvaluateRecipe
from tunesmith.run import Run, write_atomically
from tunesmith.tasks import EvalPredictions, LabelSchema, Task

if TYPE_CHECKING:
    from collections.abc import Collection

    from tunesmith.types import JsonObject


def final_split(names: Collection[str]) -> str:
    """The split of the primary score: `test`, or `validation` without test rows."""
    return "test" if "test" in names else "validation"


def build_metrics(scored: dict[str, Scored], how: EvaluateRecipe, seed: int) -> JsonObject:
    """Metrics of every split with intervals, and the primary metric of the final split."""
    name = final_split(scored)
    final = scored[name]
    splits = {split: s.intervals(how, seed) for split, s in scored.items()}
    metric = final.task.primary_for(final.label_schema)
    return {
        "task": final.task.name,
        "primary": {
            "name": metric,
            "split": name,
            **splits[name][metric].to_json(),
            "n": len(final.examples),
            **({} if final.groups is None else {"groups": len(np.unique(final.groups))}),
            "confidence": how.confidence,
        },
        "splits": {
            split: {metric: interval.to_json() for metric, interval in found.items()}
            for split, found in splits.items()
        },
        "slices": score_slices(final, how, seed),
        "details": final.task.details(final.evaluated, final.label_schema),
    }


def score_baselines(
    task: Task,
    train: TrainingRows,
    final: EvalPredictions,
    validation: EvalPredictions,
    label_schema: LabelSchema,
) -> dict[str, dict[str, float]]:
    """The metrics of the task's baselines on the rows that count, but for those that need the model.

    Args:
        task: task whose baselines are scored.
        train: training rows of the baselines.
        final: rows of the final split.
        validation: rows on which thresholds are fitted.
        label_schema: the task's label schema, without fitted thresholds.
    """
    answers = {name: BASELINES.get(name).answer for name in task.baselines}
    return {
        name: own_scores(task, answer(train, final), partial(answer, train, validation), label_schema)
        for name, answer in answers.items()
        if answer is not None
    }


def refuse_undeclared(task: Task) -> None:
    """Stops before any work where a task names a metric or a baseline that nobody declares.

    Raises:
        UnknownNameError: There is none of that name.
        PluginError: It belongs to a package and cannot be loaded.
    """
    for metric in filter(None, (task.primary_metric, task.selection_metric)):
        METRICS.get(metric)
    for baseline in task.baselines:
        BASELINES.get(baseline)


def write_predictions(run: Run, name: str, scored: Scored) -> None:
    """Writes `predictions/NAME.jsonl`, one line per row."""
    lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in scored.lines())
    write_atomically(run.predictions / f"{name}.jsonl", lines)
