"""Whether groups of people are treated alike: every metric by group, its gap, and what each label does.

Groups are the values of the columns in `evaluate.groups`. A group of fewer than 30 rows is shown, and marked
as too small: it takes no part in gaps. Whether a group is worse than the other rows is tested as for weak
slices, corrected for all groups of the column.

The gap is the largest of all differences between two groups, so its interval is made for all of them together: its
halves are wider by the ratio of the normal quantiles of the level with and without Bonferroni's correction. A gap
that chance explains then has an interval with 0 in it. Where that is so of the largest, and another one is beyond
chance (between groups of more rows), that one is the gap. In simulations of 2 to 30 equally good groups with 30 to
1,000 rows and accuracies of 60 to 95 %, at most 5.5 % had a gap that was called one.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.evaluation.analyses import Analysis, Answered
from tunesmith.evaluation.analyses.weak_slices import metric_of, residuals_of
from tunesmith.evaluation.candidate_slices import labels_of
from tunesmith.evaluation.group_rates import (
    Decisions,
    differences,
    equality_differences,
    gap_interval,
    group_aucs,
    rates,
)
from tunesmith.evaluation.intervals import Interval, Method
from tunesmith.evaluation.slice_search import weakness
from tunesmith.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tunesmith.evaluation.scoring import Scored
    from tunesmith.types import JsonObject

FEWEST_ROWS = 30
_MOST_GROUPS, _MOST_LABELS = 60, 10


def _find(answered: Answered) -> JsonObject | None:
    """The entry of metrics.json, by column; None where no groups are named.

    Each has `metric`; `groups` by value, the largest first, with `n`, `too_small`, the metric with its interval
    and `p`; `gap` between the best and the worst; and `labels`, for up to ten labels, what each group gets.
    """
    scored = answered.final
    found = {
        column: by_group(answered, [str(value) for value in scored.examples.extra[column]])
        for column in answered.how.groups
    }
    return found or None


def by_group(answered: Answered, values: Sequence[str]) -> JsonObject:
    """What is found of the groups of one column.

    Args:
        answered: rows with their answers.
        values: [rows], group of each.
    """
    names, counts = np.unique(values, return_counts=True)
    shown = [str(name) for name in names[np.argsort(-counts, kind="stable")][:_MOST_GROUPS]]
    known = np.asarray(values)
    return of_sets(answered, {name: known == name for name in shown}) | {
        "not_shown": max(0, len(names) - _MOST_GROUPS)
    }


def of_sets(answered: Answered, sets: Mapping[str, NDArray[np.bool_]]) -> JsonObject:
    """What is found of sets of rows, which may overlap.

    Args:
        answered: rows with their answers.
        sets: [rows], whether each row belongs to it, by name.
    """
    scored, metric = answered.final, metric_of(answered.final)
    large = [name for name, rows in sets.items() if rows.sum() >= FEWEST_ROWS]
    p = _p_values(answered, metric, {name: sets[name] for name in large if not sets[name].all()})
    groups: JsonObject = {}
    values: dict[str, Interval] = {}
    for name, rows in sets.items():
        values[name] = scored.intervals(answered.how, answered.seed, np.flatnonzero(rows))[metric]
        groups[name] = {
            "n": int(rows.sum()),
            "too_small": name not in large,
            **values[name].to_json(),
            "p": p.get(name),
        }
    gap = _gap(metric, {name: values[name] for name in large}, answered.how.confidence)
    labels = _labels(answered, {name: sets[name] for name in large})
    return {"metric": metric, "groups": groups, "gap": gap, "labels": labels, "text": _text(metric, gap)}


def _p_values(answered: Answered, metric: str, sets: Mapping[str, NDArray[np.bool_]]) -> dict[str, float]:
    """How often chance makes some group as much worse than the other rows as this one is."""
    from scipy import sparse

    residuals = residuals_of(answered.final, metric)
    if len(sets) < 1 or np.ptp(residuals) < 1e-12:
        return {}
    indicators = sparse.csr_matrix(np.array(list(sets.values()), dtype=np.float64))
    rng = np.random.default_rng([answered.seed, len(residuals)])
    _, p = weakness(residuals, indicators, rng, groups=answered.final.groups)
    return dict(zip(sets, map(float, p), strict=True))


def _gap(metric: str, values: Mapping[str, Interval], confidence: float) -> JsonObject | None:
    """The difference between two groups that are large enough, see the module; None where there are no two.

    Args:
        metric: in which they are compared.
        values: the metric of each group, with an interval of its own.
        confidence: of these intervals, and of the gap's, for all differences together.
    """
    if len(values) < 2:
        return None
    sign = 1 if METRICS.get(metric).greater_is_better else -1
    order = sorted(values, key=lambda name: sign * values[name].value)
    pairs = list(combinations(order, 2))
    widened = _widening(len(pairs), confidence)
    gaps = {}
    for worst, best in pairs:
        greater, lesser = (best, worst)[::sign]
        gaps[worst, best] = gap_interval(values[greater], values[lesser], widened=widened)
    largest, surest = (order[0], order[-1]), max(pairs, key=lambda pair: gaps[pair].low)
    worst, best = surest if gaps[largest].low <= 0 < gaps[surest].low else largest
    gap = gaps[worst, best]
    return {
        "best": best,
        "worst": worst,
        **gap.to_json(),
        "differences": len(pairs),
        "is_shown": gap.low > 0,
    }


def _widening(n: int, confidence: float) -> float:
    """By how much intervals are wider that hold for n differences together."""
    from scipy.stats import norm

    alone = (1 - confidence) / 2
    return float(norm.isf(alone / n) / norm.isf(alone))


def _text(metric: str, gap: JsonObject | None) -> str:
    if gap is None:
        return f"fewer than two groups have {FEWEST_ROWS} rows, too few to be compared"
    named = METRICS.get(metric)
    size = (
        f"{named.label} of `{gap['worst']}` is worse than of `{gap['best']}` by {named.shown(gap['value'])}"
    )
    of_all = f", for all {gap['differences']} differences together" if gap["differences"] > 1 else ""
    between = f"({named.shown(gap['low'])} to {named.shown(gap['high'])}{of_all})"
    return f"{size} {between}" if gap["is_shown"] else f"{size} {between}, which chance may explain"


def _labels(answered: Answered, sets: Mapping[str, NDArray[np.bool_]]) -> JsonObject:
    """For each label, what groups get of it, and the differences; only where rows have few labels."""
    scored, labels = answered.final, answered.final.label_schema.get("labels", ())
    if not labels or len(labels) > _MOST_LABELS or scored.task.outputs_per_token or len(sets) < 2:
        return {}
    how = answered.how
    method = Method(how.bootstrap_samples, how.confidence, answered.seed)
    return {label: _of_label(decisions_of(scored, label), sets, method, scored.groups) for label in labels}


def decisions_of(scored: Scored, label: str) -> Decisions:
    """What was decided about a label."""
    true = np.array([label in labels_of(gold) for gold in scored.gold])
    given = np.array([label in labels_of(prediction) for prediction in scored.predictions])
    number = list(scored.label_schema["labels"]).index(label)
    scores = [prediction.get("scores") for prediction in scored.predictions]
    known = None if any(each is None for each in scores) else np.array([_at(each, number) for each in scores])
    return Decisions(true, given, known)


def _at(scores: Any, number: int) -> float:
    return float(scores[number])


def _of_label(
    decisions: Decisions,
    sets: Mapping[str, NDArray[np.bool_]],
    method: Method,
    groups: NDArray[np.int64] | None,
) -> JsonObject:
    found = {name: rates(decisions, np.flatnonzero(rows), method, groups) for name, rows in sets.items()}
    plain = [{rate: interval.value for rate, interval in each.items()} for each in found.values()]
    everyone = rates(decisions, np.arange(len(decisions.true)), method, groups)
    overall = {rate: interval.value for rate, interval in everyone.items()}
    aucs = {} if decisions.scores is None else {
        name: group_aucs(decisions, rows) for name, rows in sets.items()
    }  # fmt: skip
    return {
        "overall": overall,
        "groups": {
            name: {rate: interval.to_json() for rate, interval in each.items()} | aucs.get(name, {})
            for name, each in found.items()
        },
        **differences(plain),
        **equality_differences(overall, plain),
    }


analysis = Analysis("whether groups of people are treated alike", _find)
