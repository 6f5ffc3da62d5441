"""Scored rows whose text was trained on: how many there are, and the scores without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.train_texts import text_hashes
from tunesmith.evaluation.scoring import Scored
from tunesmith.metrics import METRICS
from tunesmith.recipe import EvaluateRecipe

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def seen_in_training(
    scored: Scored, train_texts: NDArray[np.uint64], how: EvaluateRecipe, seed: int
) -> JsonObject:
    """The entry of metrics.json.

    Args:
        scored: split with its predictions; nothing is predicted again.
        train_texts: hashes of the training texts.
        how: number of resamples, and confidence level.
        seed: random seed for resampling.

    Returns:
        `rows` of `of` rows were trained on; `without` has every metric with its interval on the other rows, and
        is empty if there are none of either kind.
    """
    is_seen = np.isin(text_hashes(scored.examples), train_texts)
    others = np.flatnonzero(~is_seen)
    without = scored.intervals(how, seed, others) if is_seen.any() and len(others) else {}
    return {
        "rows": int(is_seen.sum()),
        "of": len(is_seen),
        "without": {name: interval.to_json() for name, interval in without.items()},
    }


def describe_seen(metrics: JsonObject) -> str:
    """A sentence for people, from metrics.json; empty if no scored row was trained on, or nobody knows."""
    seen, primary = metrics.get("seen_in_training"), metrics["primary"]
    if not seen or not seen["rows"]:
        return ""
    are = f"{seen['rows']:,} of {seen['of']:,} {primary['split']} rows are also in training"
    if not seen["without"]:
        return f"{are}: the scores say nothing about new texts"
    metric, score = METRICS.get(primary["name"]), seen["without"][primary["name"]]
    low, high = metric.shown(score["low"]), metric.shown(score["high"])
    return f"{are}; without them {metric.label} = {metric.shown(score['value'])} ({low} to {high})"
