"""A gap between validation and test that chance does not explain, with advice.

The best step was chosen on the validation rows, so their score is a little too good. A larger gap has
another cause.
Whether it is large: rows of one kind vary alike in both splits, so the interval on the test rows, scaled to the
number of validation rows, is that of the validation score, and the two add up as variances do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tunesmith.evaluation.paired import FEWEST_ROWS
from tunesmith.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunesmith.types import JsonObject

_TOO_GOOD = (
    "the validation rows are easier, or related to training rows: choose validation rows like the test rows "
    "(`data.validation=FILE`), or keep related rows together (`data.group_by=COLUMN`)"
)
_TOO_BAD = (
    "the test rows are easier than the validation rows: check where they come from before you rely on them"
)
_SHIFTED = (
    "the reason is probably that {}. Expect the test score on rows like the test rows; training and "
    "validation rows like them (`data.train`, `data.validation=FILE`) would help"
)


def find_gap(
    metrics: JsonObject,
    history: Sequence[JsonObject],
    best_step: int,
    n_validation: int,
    shifts: Sequence[str] = (),
) -> JsonObject | None:
    """The entry `validation_gap` of metrics.json; None if there is no gap beyond the intervals.

    Args:
        metrics: what `build_metrics` gave.
        history: scores of every validation, as in the state of the loop.
        best_step: step whose weights were saved.
        n_validation: number of validation rows.
        shifts: how test rows differ from training rows, as the check `shift` has found it.
    """
    primary = metrics["primary"]
    if primary["split"] != "test" or min(primary["n"], n_validation) < FEWEST_ROWS:
        return None
    best: JsonObject = next((scores for scores in history if scores["step"] == best_step), {})
    test = metrics["splits"]["test"]
    name = next((name for name in (primary["name"], "loss") if name in best and name in test), None)
    if name is None:
        return None
    score, validation = test[name], best[name]
    bound = (score["high"] - score["low"]) / 2 * math.sqrt(1 + primary["n"] / n_validation)
    difference = score["value"] - validation
    if abs(difference) <= bound:
        return None
    return {
        "metric": name,
        "validation": validation,
        "test": score["value"],
        "bound": bound,
        "shifts": list(shifts),
        "text": _sentence(name, validation, score["value"], bound, shifts),
    }


def _sentence(name: str, validation: float, test: float, bound: float, shifts: Sequence[str]) -> str:
    metric = METRICS.get(name)
    is_worse = (test < validation) == metric.greater_is_better
    by, most = (
        (f"{100 * value:.1f} points" if metric.is_share else f"{value:.3f}")
        for value in (abs(test - validation), bound)
    )
    why = _SHIFTED.format("; ".join(shifts)) if shifts else _TOO_GOOD if is_worse else _TOO_BAD
    return (
        f"{metric.label} is {metric.shown(validation)} on validation and {metric.shown(test)} on test: "
        f"a difference of {by}, and chance explains {most}; {why}"
    )
