"""What groups of people get from a classifier: how often each label is given, found, and given wrongly.

The names are those of the literature. The share of rows that get a label is its selection rate, and its largest
difference between groups is the demographic parity difference (Dwork et al. 2012). The largest difference of the
true positive rate is that of equal opportunity, and the larger one of both rates that of equalized odds (Hardt et
al. 2016). FPED and FNED add up how far the rates of groups are from those of all rows (Dixon et al. 2018). The
three AUCs compare a group with all other rows, the background (Borkan et al. 2019). fairlearn and scikit-learn
give the same values (tests/evaluation/test_group_rates.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.evaluation.intervals import Interval, Method, intervals
from tunesmith.metrics import Share, selected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tunesmith.metrics import Scores

SELECTION, TRUE_POSITIVE, FALSE_POSITIVE = "selection_rate", "true_positive_rate", "false_positive_rate"
_COLUMNS = 6
"""All rows, given; with the label, given of these; without the label, given of these."""
_SHARES = {SELECTION: (0, 1), TRUE_POSITIVE: (2, 3), FALSE_POSITIVE: (4, 5)}


@dataclass(frozen=True)
class Decisions:
    """What was decided about one label.

    Args:
        true: [rows], whether the row has the label.
        given: [rows], whether it was answered.
        scores: [rows], probability of the label; None where there is none.
    """

    true: NDArray[np.bool_]
    given: NDArray[np.bool_]
    scores: NDArray[np.float64] | None = None


def rates(
    decisions: Decisions, rows: NDArray[np.int64], method: Method, groups: NDArray[np.int64] | None
) -> dict[str, Interval]:
    """The three rates of some rows, with intervals; without a row to decide, a rate is left out.

    Args:
        decisions: about one label.
        rows: numbers of the rows.
        method: how intervals are computed.
        groups: [all rows], group of each row that is not independent of others; None where all are.
    """
    true, given = decisions.true[rows], decisions.given[rows]
    ones = np.ones(len(rows), dtype=bool)
    statistics = np.stack([ones, given, true, true & given, ~true, ~true & given], axis=1).astype(np.float64)
    there = {name: places for name, places in _SHARES.items() if statistics[:, places[0]].any()}

    def formula(sums: NDArray[np.float64]) -> Scores:
        return {
            name: sums[..., right] / np.maximum(sums[..., of], 1e-12) for name, (of, right) in there.items()
        }

    shares = {
        name: Share(of=selected(_COLUMNS, [of]), right=selected(_COLUMNS, [right]))
        for name, (of, right) in there.items()
    }
    return intervals(statistics, formula, shares, method, groups=None if groups is None else groups[rows])


def differences(by_group: Sequence[dict[str, float]]) -> dict[str, float]:
    """The largest differences between groups, from the rates of each; of a rate, groups that have it.

    Args:
        by_group: rates of each group, by name.
    """
    spread = {}
    for name in _SHARES:
        values = [found[name] for found in by_group if name in found]
        if len(values) > 1:
            spread[name] = max(values) - min(values)
    found = {}
    if SELECTION in spread:
        found["demographic_parity_difference"] = spread[SELECTION]
    if TRUE_POSITIVE in spread:
        found["equal_opportunity_difference"] = spread[TRUE_POSITIVE]
    odds = [spread[name] for name in (TRUE_POSITIVE, FALSE_POSITIVE) if name in spread]
    return {**found, "equalized_odds_difference": max(odds)} if odds else found


def equality_differences(overall: dict[str, float], by_group: Sequence[dict[str, float]]) -> dict[str, float]:
    """FPED and FNED: the sums over groups of how far their rates are from those of all rows.

    Args:
        overall: rates of all rows.
        by_group: rates of each group.
    """
    found = {}
    for name, rate in (("fped", FALSE_POSITIVE), ("fned", TRUE_POSITIVE)):
        known = [each[rate] for each in by_group if rate in each]
        if rate in overall and known:
            found[name] = float(sum(abs(overall[rate] - value) for value in known))
    return found


def group_aucs(decisions: Decisions, inside: NDArray[np.bool_]) -> dict[str, float]:
    """The AUC within a group, and of each of its sides against the other side of the background.

    Args:
        decisions: about one label, with scores.
        inside: [rows], whether a row is of the group.

    Returns:
        `subgroup_auc`; `bpsn_auc`, low where rows of the group without the label score too high; `bnsp_auc`, low
        where rows of the group with the label score too low. One without rows on both sides is left out.
    """
    assert decisions.scores is not None
    true, scores = decisions.true, decisions.scores
    sides = {
        "subgroup_auc": (inside & true, inside & ~true),
        "bpsn_auc": (~inside & true, inside & ~true),
        "bnsp_auc": (inside & true, ~inside & ~true),
    }
    return {
        name: auc(scores[positive], scores[negative])
        for name, (positive, negative) in sides.items()
        if positive.any() and negative.any()
    }


def auc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """The share of pairs in which the positive row scores higher; equal scores count half."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(below.sum() / (2 * len(positive) * len(negative)))


def gap_interval(best: Interval, worst: Interval, widened: float = 1.0) -> Interval:
    """The difference of two independent groups, with the interval from those of both (Donner and Zou 2012).

    Args:
        best: the group with the greater value.
        worst: the other one.
        widened: a factor of both halves of the interval.
    """
    value = best.value - worst.value
    low = value - widened * float(np.hypot(best.value - best.low, worst.high - worst.value))
    high = value + widened * float(np.hypot(best.high - best.value, worst.value - worst.low))
    return Interval(value, low, high)
