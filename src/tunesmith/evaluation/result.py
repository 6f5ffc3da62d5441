"""`metrics.json`: the model as it was saved, every split, the baselines beside it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.examples import Examples
from tunesmith.evaluation.baselines import BASELINES, TrainingRows, joined_texts
from tunesmith.evaluation.scoring import Scored, score_slices
from tunesmith.recipe import EvaluateRecipe
from tunesmith.run import Run, write_atomically
from tunesmith.tasks import Targets, Task, point_scores


def final_split(names: Any) -> str:
    """The split whose metric counts: `test`, or `validation` where there is none."""
    return "test" if "test" in names else "validation"


def build_metrics(scored: dict[str, Scored], how: EvaluateRecipe, seed: int) -> dict[str, Any]:
    """Metrics of every split with intervals; the primary metric of the one that counts first."""
    name = final_split(scored)
    final = scored[name]
    splits = {split: s.intervals(how, seed) for split, s in scored.items()}
    metric = final.task.primary_metric
    return {
        "task": final.task.name,
        "primary": {
            "name": metric,
            "split": name,
            **splits[name][metric].to_json(),
            "n": len(final.labels),
            "confidence": how.confidence,
        },
        "splits": {
            split: {metric: interval.to_json() for metric, interval in found.items()}
            for split, found in splits.items()
        },
        "slices": score_slices(final, how, seed),
        "details": final.task.details(final.logits, final.labels, final.targets),
    }


def score_baselines(
    task: Task,
    targets: Targets,
    train: tuple[Examples, NDArray[np.int64]],
    final: Scored,
    probe_logits: NDArray[np.float32] | None,
) -> dict[str, dict[str, float]]:
    """The metrics of each baseline on the rows that count.

    Args:
        task: says which baselines make sense.
        targets: of the task.
        train: the examples they learn from, and their labels.
        final: the rows that count.
        probe_logits: of the probe on them, where there was one.
    """
    examples, labels = train
    rows = TrainingRows(joined_texts(examples.columns), labels, task.config(targets)["num_labels"])
    texts = joined_texts(final.examples.columns)
    logits = {name: BASELINES[name](rows, texts) for name in task.baselines}
    if probe_logits is not None:
        logits["probe"] = probe_logits
    return {name: point_scores(task, values, final.labels, targets) for name, values in logits.items()}


def write_predictions(run: Run, name: str, scored: Scored) -> None:
    """Writes `predictions/NAME.jsonl`, one line a row."""
    lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in scored.lines())
    write_atomically(run.predictions / f"{name}.jsonl", lines)
