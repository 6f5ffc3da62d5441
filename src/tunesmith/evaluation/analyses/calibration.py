"""Whether scores can be read as probabilities, before and after the calibration.

The scores that are measured are those of the answers that were given: the most probable label, each label given,
each entity, each answer to a question. Log loss and Brier score are of all labels where the task has them. What
the head would say without its calibration is computed by taking the calibration back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluation.analyses import Analysis, Answered
from tunesmith.evaluation.intervals import Method, intervals
from tunesmith.evaluation.reliability import Reliability
from tunesmith.evaluation.scoring import Scored
from tunesmith.tasks import Calibration, EvalPredictions, LabelSchema, Scaling

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

LEAST_ANSWERS = 20
"""Answers below which nothing is measured."""

_TINY = 1e-12


def find(answered: Answered) -> JsonObject | None:
    """The entry `calibration` of metrics.json."""
    final = answered.final
    if final.task.calibration is None:
        return None
    fitted = answered.run.manifest().get("calibration", {"method": "none"})
    split = str(_entry(answered, "primary").get("split", "test"))
    entry: JsonObject = {"fitted": fitted, "method": fitted["method"], "split": split}
    # In a run without test rows, these are the rows that the scale was fitted on.
    entry["is_fitted_on_these_rows"] = split == "validation" and fitted["method"] != "none"
    after = _describe(answered, final.task.calibration, final.evaluated, final.label_schema)
    if after is None:
        return {**entry, "n": 0}
    if fitted["method"] == "none":
        return {**entry, "n": after.pop("n"), "before": after, "after": after}
    before = _describe(answered, final.task.calibration, *_taken_back(final, Scaling.of(fitted).inverse()))
    assert before is not None, "scaling changes no answer into none"
    before.pop("n")
    return {**entry, "n": after.pop("n"), "before": before, "after": after}


def _entry(answered: Answered, name: str) -> JsonObject:
    found = answered.metrics.get(name, {})
    return found if isinstance(found, dict) else {}


def _taken_back(final: Scored, back: Scaling) -> tuple[EvalPredictions, LabelSchema]:
    """The predictions of the head as it was trained, and the thresholds that belong to them."""
    thresholds, label_schema = final.task.thresholds, final.label_schema
    moved = label_schema if thresholds is None else thresholds.moved(label_schema, back)
    return back.applied(final.evaluated), moved


def _describe(
    answered: Answered, calibration: Calibration, evaluated: EvalPredictions, label_schema: LabelSchema
) -> JsonObject | None:
    """The scores of the answers against the truth; None for too few answers."""
    given = calibration.given(evaluated, label_schema)
    if len(given) < LEAST_ANSWERS:
        return None
    groups = answered.final.groups
    row_groups = np.arange(len(answered.final.examples)) if groups is None else groups
    method = Method(answered.how.bootstrap_samples, answered.how.confidence, answered.seed)
    reliability = Reliability(given.scores(), given.is_right, row_groups[given.rows])
    log_loss, brier = _losses(calibration, evaluated, reliability)
    of = row_groups if len(log_loss) == len(row_groups) else row_groups[given.rows]
    return {
        "n": len(given),
        **reliability.describe(method),
        "log_loss": _mean(log_loss, method, of),
        "brier": _mean(brier, method, of),
    }


Floats = NDArray[np.float64]


def _losses(
    calibration: Calibration, evaluated: EvalPredictions, reliability: Reliability
) -> tuple[Floats, Floats]:
    """The log loss and the Brier score of each row, over its labels; of each answer where rows have no labels."""
    if calibration.targets is None:
        scores, right = reliability.scores, reliability.is_right
        probability = np.clip(np.where(right, scores, 1 - scores), _TINY, 1.0)
        return -np.log(probability), (scores - right) ** 2
    from scipy.special import expit, logsumexp, softmax

    logits, targets = np.asarray(evaluated.outputs, dtype=np.float64), calibration.targets(evaluated)
    if calibration.independent:
        losses = (np.logaddexp(0.0, logits) - targets * logits).mean(-1)
        return losses, ((expit(logits) - targets) ** 2).mean(-1)
    losses = logsumexp(logits, axis=-1) - (targets * logits).sum(-1)
    return losses, ((softmax(logits, axis=-1) - targets) ** 2).sum(-1)


def _mean(values: Floats, method: Method, groups: NDArray[np.int64]) -> JsonObject:
    """A mean with its bootstrap interval."""
    statistics = np.stack([values, np.ones(len(values))], axis=1)
    found = intervals(
        statistics, lambda sums: {"mean": sums[..., 0] / sums[..., 1]}, {}, method, groups=groups
    )
    return found["mean"].to_json()


analysis = Analysis("whether scores can be read as probabilities, before and after calibration", find)
