"""`metrics.json`: the scores of the saved model on every split, and what they are worth."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.evaluation.baselines import BASELINES, RowStatistics, TrainingRows, own_statistics
from tunesmith.evaluation.scoring import Scored, score_slices
from tunesmith.evaluation.seen import describe_seen
from tunesmith.inference.trust import Abstention
from tunesmith.metrics import METRICS
from tunesmith.recipe import EvaluateRecipe
from tunesmith.run import Run, write_atomically
from tunesmith.tasks import EvalPredictions, LabelSchema, Task

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from tunesmith.tasks import Values
    from tunesmith.types import JsonObject


def final_split(names: Collection[str]) -> str:
    """The split of the primary score: `test`, or `validation` without test rows."""
    return "test" if "test" in names else "validation"


def build_metrics(
    scored: Scored, split: str, how: EvaluateRecipe, seed: int, *, seen: JsonObject | None = None
) -> JsonObject:
    """Metrics of the rows that count, with intervals.

    Args:
        scored: rows that count, with their predictions.
        split: name of their split.
        how: number of resamples, and confidence level.
        seed: random seed for resampling.
        seen: the entry `seen_in_training`, see `rows_that_count`; None where the training texts are not known.
    """
    found = {name: interval.to_json() for name, interval in scored.intervals(how, seed).items()}
    metric = scored.task.primary_for(scored.label_schema)
    left_out = seen["rows"] if seen and seen["with"] else 0
    return {
        "task": scored.task.name,
        "primary": {
            "name": metric,
            "split": split,
            **found[metric],
            "n": len(scored.examples),
            **({"left_out": left_out} if left_out else {}),
            **({} if scored.groups is None else {"groups": len(np.unique(scored.groups))}),
            "confidence": how.confidence,
        },
        **({} if seen is None else {"seen_in_training": seen}),
        "splits": {split: found},
        "slices": score_slices(scored, how, seed),
        "details": scored.task.details(scored.evaluated, scored.label_schema),
    }


def remarks(metrics: JsonObject) -> list[str]:
    """What people must read beside the score: the verdict, what makes it doubtful, a promise, folds."""
    verdict, promise, folds = (
        metrics.get(key, {}).get("text", "") for key in ("verdict", "abstention", "folds")
    )
    return [sentence for sentence in (verdict, *warnings(metrics), promise, folds) if sentence]


def warnings(metrics: JsonObject) -> list[str]:
    """What makes the score doubtful: rows that were trained on, a gap between validation and test."""
    found = [describe_seen(metrics), metrics.get("validation_gap", {}).get("text", "")]
    return [sentence for sentence in found if sentence]


def score_baselines(
    task: Task,
    train: TrainingRows,
    final: EvalPredictions,
    validation: EvalPredictions,
    label_schema: LabelSchema,
) -> dict[str, RowStatistics]:
    """The task's baselines on the rows that count, but for those that need the model.

    Args:
        task: task whose baselines are scored.
        train: training rows of the baselines.
        final: rows of the final split.
        validation: rows on which thresholds are fitted.
        label_schema: the task's label schema, without fitted thresholds.
    """
    answers = {name: BASELINES.get(name).answer for name in task.baselines}
    return {
        name: own_statistics(task, answer(train, final), partial(answer, train, validation), label_schema)
        for name, answer in answers.items()
        if answer is not None
    }


def count_training_rows(
    task: Task, train: Values, label_schema: LabelSchema, details: JsonObject
) -> JsonObject:
    """The details, with how often each label of `per_class` is in the training rows, as `train`."""
    if "per_class" not in details:
        return details
    table = details["per_class"]
    counts = Counter(label for gold in task.gold(train, label_schema) for label in _labels_of(gold))
    return {**details, "per_class": {**table, "train": [counts[label] for label in table["labels"]]}}


def _labels_of(gold: object) -> list[str]:
    """The labels of a true answer: a label, several labels, or entities."""
    found = gold if isinstance(gold, list) else [gold]
    return [str(item["entity_group"] if isinstance(item, dict) else item) for item in found]


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


def write_predictions(
    run: Run,
    name: str,
    scored: Scored,
    counted: NDArray[np.int64],
    abstention: Abstention | None = None,
) -> None:
    """Writes `predictions/NAME.jsonl`, one line per row.

    Args:
        run: run folder.
        name: name of the split.
        scored: rows of the split.
        counted: numbers of the rows that count for the scores; lines of the others say that they are left out.
        abstention: when the model abstains; each line then says from which answers.
    """
    counts = np.zeros(len(scored.examples), dtype=bool)
    counts[counted] = True

    def lines() -> Iterator[str]:
        for line, is_counted in zip(scored.lines(abstention), counts, strict=True):
            marked = line if is_counted else {**line, "left_out": True}
            yield json.dumps(marked, ensure_ascii=False) + "\n"

    write_atomically(run.predictions / f"{name}.jsonl", lines())


def count_wrong(scored: Scored) -> int | None:
    """The number of wrong answers; None where answers are neither right nor wrong."""
    judged = Counter(scored.correct)
    return judged[False] if judged[True] + judged[False] else None
