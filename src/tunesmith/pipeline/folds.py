"""Cross-validation: a training for each part of the training rows, which is scored on that part.

Each is an ordinary run of the same recipe, in a folder beside the run. So it resumes after a stop, has its own
predictions and report, and a finished one is not done again. Taken together, every training row is answered by a
model that has not learned from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.errors import RunError
from tunesmith.evaluation.answered_rows import AnsweredRows, read_answered_rows
from tunesmith.evaluation.intervals import Method
from tunesmith.events import Event, Events, Finished, Listener
from tunesmith.metrics import METRICS
from tunesmith.models.task_of_model import task_of_model
from tunesmith.recipe import EvaluateRecipe, Recipe
from tunesmith.run import Run, read_json
from tunesmith.tasks import TASKS

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

Training = Callable[[Recipe, Sequence[Listener]], Run]
"""A training: from a recipe, and listeners, to its run."""


def folder_of_folds(run: Path) -> Path:
    """The folder with the runs of the folds, beside the run."""
    return run.with_name(f"{run.name}-folds")


def train_folds(recipe: Recipe, listeners: Sequence[Listener], train: Training) -> None:
    """Trains one model for each part of the training rows; what is finished is not done again.

    Args:
        recipe: recipe with `train.folds`.
        listeners: called with every event but `Finished`, which is that of the whole.
        train: trains, or resumes.

    Raises:
        UserError: the recipe, the data or the model must be corrected first.
        InterruptedRunError: a signal stopped a training; the same call resumes it.
    """
    n, shown = recipe.train.folds or 0, [_WithoutEnd(listener) for listener in listeners]
    for fold in range(1, n + 1):
        Events(listeners).note(f"cross-validation: fold {fold} of {n}")
        train(_of_fold(recipe, fold, n), shown)


def _of_fold(recipe: Recipe, fold: int, n: int) -> Recipe:
    """The recipe of one fold: without checks, baselines and trackers, which the run itself has."""
    own = recipe.replace(
        data={"fold": f"{fold}/{n}", "check": "off"},
        train={"folds": None, "report_to": []},
        evaluate={"baselines": False},
    )
    return own.model_copy(update={"output_dir": str(folder_of_folds(Path(recipe.output_dir)) / str(fold))})


class _WithoutEnd:
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def __call__(self, event: Event) -> None:
        if not isinstance(event, Finished):
            self._listener(event)


def score_folds(run: Run, recipe: Recipe) -> JsonObject:
    """The scores of all folds for `metrics.json`, with the interval over all their rows.

    Args:
        run: run that learns from all rows.
        recipe: its recipe.

    Raises:
        RunError: a fold has no predictions.
    """
    folds = [Run.open(folder_of_folds(run.path) / str(k)) for k in range(1, (recipe.train.folds or 0) + 1)]
    rows = [_counted_rows(fold) for fold in folds]
    together = _joined(rows)
    metric = together.task.primary_for(together.label_schema)
    values = [read_json(fold.metrics_file)["primary"]["value"] for fold in folds]
    how = recipe.evaluate
    found = together.intervals(_method(how, recipe.seed))
    return {
        "folds": len(folds),
        "metric": metric,
        "values": values,
        "mean": float(np.mean(values)),
        "deviation": float(np.std(values, ddof=1)),
        "rows": len(together),
        "together": {name: interval.to_json() for name, interval in found.items()},
        "confidence": how.confidence,
        "text": _in_words(metric, values, found[metric].to_json(), how.confidence),
    }


def _method(how: EvaluateRecipe, seed: int) -> Method:
    return Method(how.bootstrap_samples, how.confidence, seed)


def _in_words(metric: str, values: Sequence[float], together: JsonObject, confidence: float) -> str:
    known = METRICS.get(metric)
    value, low, high = (known.shown(together[key]) for key in ("value", "low", "high"))
    return (
        f"{len(values)}-fold cross-validation: {known.label} {value} ({confidence:.0%} interval {low} to {high}), "
        f"in the folds {known.shown(min(values))} to {known.shown(max(values))}"
    )


def _counted_rows(fold: Run) -> AnsweredRows:
    """The rows of a fold that count: a copy of a training text in another fold does not."""
    task = task_of_model(TASKS.get(fold.recipe().task), fold.model)
    rows = read_answered_rows(fold.predictions / "test.npz", task)
    if rows is None:
        raise RunError(
            f"`{fold.path}` has no predictions of its rows.",
            remedy=f"Remove `{fold.path.parent}`, and train again.",
        )
    return rows.take(np.flatnonzero(~rows.is_seen))


def _joined(parts: Sequence[AnsweredRows]) -> AnsweredRows:
    """The rows of all folds; groups of different folds are different groups."""
    from scipy import sparse

    statistics = [part.statistics for part in parts]
    joined = (
        sparse.vstack(statistics, "csr") if sparse.issparse(statistics[0]) else np.concatenate(statistics)
    )
    groups, after = [], 0
    for part in parts:
        if part.groups is not None:
            groups.append(part.groups + after)
            after = int(groups[-1].max(initial=after)) + 1
    return replace(
        parts[0],
        statistics=joined,
        keys=np.concatenate([part.keys for part in parts]),
        is_seen=np.concatenate([part.is_seen for part in parts]),
        groups=np.concatenate(groups) if len(groups) == len(parts) else None,
    )
