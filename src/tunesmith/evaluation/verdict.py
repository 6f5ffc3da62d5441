"""Was it worth it? One sentence at the end of every training, from a paired comparison with the best baseline.

The model and the baseline answered the same rows, so their difference has a narrower interval than either score.
The interval decides: it lies above zero (better), below (worse), or on both sides (not shown). With fewer than
about thirty rows, or groups of rows, no interval says much, and the sentence says that instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.evaluation.baselines import BASELINES, RowStatistics
from tunesmith.evaluation.intervals import Interval, Method
from tunesmith.evaluation.paired import gain
from tunesmith.evaluation.scoring import Scored
from tunesmith.metrics import METRICS, Metric
from tunesmith.recipe import EvaluateRecipe

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

FEWEST_ROWS = 30
"""Rows, or groups of rows, below which nothing is judged."""

_ENDINGS = {
    "better": "{what} was worth it",
    "not_shown": "it is not shown that {what} was worth it",
    "worse": "{what} made it worse than {baseline}",
}


def judge(
    final: Scored,
    baselines: Mapping[str, RowStatistics],
    how: EvaluateRecipe,
    seed: int,
    *,
    split: str,
    what: str = "fine-tuning",
) -> JsonObject:
    """The entry `verdict` of metrics.json.

    Args:
        final: the rows that count, as the model answers them.
        baselines: the same rows, as baselines answer them.
        how: number of resamples, and confidence level.
        seed: random seed for resampling.
        split: name of the split, for the sentence.
        what: what was done, for the sentence.

    Returns:
        `text`, `outcome` (`better`, `not_shown`, `worse`, `too_few_rows`, `nothing_to_compare`), `against` (the
        best baseline), and how much better the model is: `difference`, `low`, `high`, in the unit of the primary
        metric; above 0 is better, whatever the direction of the metric.
    """
    if not baselines:
        return _without_interval(
            "nothing_to_compare", "no baseline was scored: there is nothing to compare with"
        )
    name = strongest(baselines, final.task.primary_for(final.label_schema))
    n, of = _independent(final)
    if n < FEWEST_ROWS:
        text = f"{n} {split} {of} are too few to judge: about {FEWEST_ROWS} are needed"
        return _without_interval("too_few_rows", text, name)
    method = Method(how.bootstrap_samples, how.confidence, seed)
    found = gain(final, baselines[name], method, groups=final.groups)
    outcome = "better" if found.low > 0 else "worse" if found.high < 0 else "not_shown"
    baseline = BASELINES.get(name).name_in_text
    ending = _ENDINGS[outcome].format(what=what, baseline=baseline)
    text = (
        f"{_difference(METRICS.get(final.task.primary_for(final.label_schema)), found, baseline)}: {ending}"
    )
    return {
        "text": text,
        "outcome": outcome,
        "against": name,
        "difference": found.value,
        "low": found.low,
        "high": found.high,
    }


def strongest(baselines: Mapping[str, RowStatistics], metric: str) -> str:
    """The baseline with the best primary metric; of equal ones the probe, which costs a model too."""
    sign = 1 if METRICS.get(metric).greater_is_better else -1
    values = {name: sign * found.scores()[metric] for name, found in baselines.items()}
    return max(values, key=lambda name: (values[name], name == "probe"))


def _independent(final: Scored) -> tuple[int, str]:
    """How many rows, or groups of rows, are independent, and what they are."""
    if final.groups is None:
        return len(final.examples), "rows"
    return len(np.unique(final.groups)), "groups of rows"


def _without_interval(outcome: str, text: str, against: str | None = None) -> JsonObject:
    nothing = {"difference": None, "low": None, "high": None}
    return {"text": text, "outcome": outcome, "against": against, **nothing}


def _difference(metric: Metric, found: Interval, baseline: str) -> str:
    """`+12.0 points over the probe [5.1, 19.0]`; of what is better when smaller: `0.31 loss below …`."""
    if metric.is_share:
        value, low, high = (100 * x for x in (found.value, found.low, found.high))
        return f"{value:+.1f} points over {baseline} [{low:.1f}, {high:.1f}]"
    if metric.greater_is_better:
        return f"{found.value:+.3f} {metric.label} over {baseline} [{found.low:.3f}, {found.high:.3f}]"
    side = "below" if found.value >= 0 else "above"
    low, high = sorted((found.low, found.high)) if found.value >= 0 else sorted((-found.low, -found.high))
    return f"{abs(found.value):.3f} {metric.label} {side} {baseline} [{low:.3f}, {high:.3f}]"
