"""Whether the model is better on the rows that it was trained on than on new ones.

Training rows, validation rows and the final rows are other rows, so the interval of a difference comes from both
intervals, as squares add up (Newcombe 1998, method 10; for any metric Zou and Donner 2008). A gap between
validation and test has other causes than training (`evaluation/gap.py`): if there is one, the new rows are the
validation rows, which are more like the training rows.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from tunesmith.evaluation.analyses import Analysis, Answered
from tunesmith.evaluation.intervals import Interval
from tunesmith.evaluation.scoring import Scored
from tunesmith.metrics import METRICS, Metric

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_FEWEST_ROWS = 30


def _find(answered: Answered) -> JsonObject | None:
    """The entry of metrics.json; None where the training rows are not at hand, or too few rows are scored.

    `splits` has the metric of each split with its interval and number of rows; `gap` is how much better the
    training rows are answered than those of the split `against`, above 0 is better; `outcome` is `shown` where
    its whole interval is above 0, else `not_shown`.
    """
    train = answered.scored("train")
    if train is None or min(len(train.examples), len(answered.final.examples)) < _FEWEST_ROWS:
        return None
    name = _metric(answered.final)
    split = _final_split(answered)
    known = {"train": train, "validation": answered.scored("validation"), split: answered.final}
    found = {of: (rows, _interval(answered, rows, name)) for of, rows in known.items() if rows is not None}
    against = "validation" if "validation_gap" in answered.metrics and "validation" in found else split
    gap = _gap(METRICS.get(name), found["train"][1], found[against][1])
    outcome = "shown" if gap.low > 0 else "not_shown"
    return {
        "metric": name,
        "splits": {
            of: {**interval.to_json(), "n": len(rows.examples)} for of, (rows, interval) in found.items()
        },
        "against": against,
        "gap": gap.to_json(),
        "outcome": outcome,
        "text": _sentence(METRICS.get(name), against, found["train"][1], found[against][1], gap),
    }


def _final_split(answered: Answered) -> str:
    primary = answered.metrics.get("primary", {})
    return str(primary["split"]) if isinstance(primary, dict) and "split" in primary else "test"


def _metric(final: Scored) -> str:
    """The primary metric, or that of the validations where texts are generated for the final rows alone."""
    task = final.task
    if _writes(final) and task.selection_metric:
        return task.selection_metric
    return task.primary_for(final.label_schema)


def _writes(scored: Scored) -> bool:
    return scored.task.generation is not None and scored.task.generation.scores_texts


def _interval(answered: Answered, scored: Scored, metric: str) -> Interval:
    if _writes(scored) and scored.evaluated.texts is None:
        # Metrics of texts have no meaning here, and none is read; the likelihoods are those of the rows.
        scored = replace(scored, evaluated=replace(scored.evaluated, texts=[""] * len(scored.examples)))
    return scored.intervals(answered.how, answered.seed)[metric]


def _gap(metric: Metric, train: Interval, final: Interval) -> Interval:
    """How much better the training rows are answered, with the interval of a difference of independent rows."""
    value = train.value - final.value
    low = value - math.hypot(train.value - train.low, final.high - final.value)
    high = value + math.hypot(train.high - train.value, final.value - final.low)
    return Interval(value, low, high) if metric.greater_is_better else Interval(-value, -high, -low)


def _sentence(metric: Metric, split: str, train: Interval, final: Interval, gap: Interval) -> str:
    seen, new = metric.shown(train.value), metric.shown(final.value)
    scores = f"{metric.label} is {seen} on training rows and {new} on {split} rows"
    if gap.low <= 0:
        return f"overfitting is not shown: {scores}"
    numbers = (gap.value, gap.low, gap.high)
    if metric.is_share:
        value, low, high = (f"{100 * number:.1f}" for number in numbers)
        return f"overfitting is shown: {scores}, a gap of {value} points ({low} to {high})"
    value, low, high = (f"{number:.3f}" for number in numbers)
    return f"overfitting is shown: {scores}, a gap of {value} ({low} to {high})"


analysis = Analysis("whether training rows are answered better than new ones", _find)
