"""Intervals of metrics that are shares: accuracy, F1, exact match, ROUGE.

The interval of Agresti and Coull (1998) with the effective number of decisions, as for proportions in surveys of
clusters (Korn and Graubard 1998; Dean and Pagano 2015 compare the choices): the number of independent decisions
whose share would vary as much as this metric. The variance of the metric is computed from the groups of rows
(linearisation: Binder 1983; for F1 Takahashi et al. 2022), so one rule covers proportions, F1 and groups.

Of the intervals for a plain proportion, Agresti-Coull's alone never fell below 92 % and was near 95 % on average
(n = 20 to 2,000, p = 0.5 to 0.98, computed exactly): Wilson 89.6 %, Jeffreys 88.0 %, mid-P 91.9 %; Clopper-Pearson
95.0 %, but 96.1 % on average. `benchmarks/coverage.md` has the table, and the coverage for the other metrics.

The correlation of wrong decisions within a group cannot be measured if no decision is wrong. So the design effect,
the ratio of decisions to effective decisions, is an average of two values: the measured one, weighted by the
number of pairs of wrong decisions, as only pairs show a correlation, and the greatest possible one (a group is
right or wrong as a whole), weighted by one and a half pairs. So a perfect score has as many effective decisions
as groups, and its interval is never a point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluation.clusters import Clusters
from tunesmith.metrics import Share, Statistics

_PSEUDO_PAIRS = 1.5
"""Weight of the greatest design effect, in pairs of wrong decisions."""


@dataclass(frozen=True)
class Evidence:
    """The data behind a metric that is a share.

    Args:
        value: value of the metric.
        most: greatest possible value; below 1 if labels that never occur count as 0.
        influence: [d], change of the metric by a group of each kind.
        weights: [d], weight of a group of each kind in the metric; over all groups they sum to 1.
        counts: [d], number of groups of each kind.
        n_decisions: effective number of decisions, if all were independent.
    """

    value: float
    most: float
    influence: NDArray[np.float64]
    weights: NDArray[np.float64]
    counts: NDArray[np.int64]
    n_decisions: float

    @property
    def n_groups(self) -> float:
        """The effective number of groups: the decisions, if each group is right or wrong as a whole."""
        return 1.0 / float((self.weights**2) @ self.counts)

    @property
    def alone(self) -> bool:
        """Whether each group is one decision, so that the variance is at most that of a proportion."""
        return self.n_groups > 0.99 * self.n_decisions

    def variance(self) -> float:
        """The variance of the metric, from the spread over groups; infinite for a single group."""
        n = int(self.counts[self.weights > 0].sum())
        spread = float((self.influence**2) @ self.counts)
        if self.alone:
            return spread
        return spread * n / (n - 1) if n > 1 else np.inf

    def quantile(self, confidence: float) -> float:
        """The quantile of Student's distribution if the variance is estimated from groups; else the normal one."""
        from scipy.special import ndtri, stdtrit

        if self.alone:
            return float(ndtri((1 + confidence) / 2))
        return float(stdtrit(max(self.n_groups - 1, 1.0), (1 + confidence) / 2))


def evidence(
    clusters: Clusters,
    statistics: Statistics,
    share: Share,
    formula: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Evidence | None:
    """The data behind a metric; None without any decision.

    Args:
        clusters: groups of the rows.
        statistics: [rows, s], statistics of the rows.
        share: definition of the metric as a share.
        formula: function from sums [..., s] to the metric.
    """
    sums = clusters.total()
    n_of = sums @ share.of
    if not n_of.any():
        return None
    parts = _part_weights(share, sums, n_of)
    most = float(parts.sum())
    each = parts / most / np.where(n_of > 0, n_of, 1.0)  # weight of one decision, by part
    if share.right is None:
        influence = clusters.influence(formula)
        n_decisions = 1.0 / float((np.asarray(statistics @ (share.of @ each)).ravel() ** 2).sum())
    else:
        influence = _influence(clusters, share, sums, n_of, parts)
        n_decisions = 1.0 / float((each**2) @ n_of)
    return Evidence(
        float(formula(sums)),
        most,
        influence,
        np.asarray(clusters.sums @ (share.of @ each)).ravel(),
        clusters.counts,
        n_decisions,
    )


def _part_weights(share: Share, sums: NDArray[np.float64], n_of: NDArray[np.float64]) -> NDArray[np.float64]:
    """[parts], weight of each part in the mean; 0 without a decision."""
    decided = (n_of > 0).astype(np.float64)
    if share.by is not None:
        by = sums @ share.by
        return np.asarray(by * decided / by.sum())
    return np.asarray(decided / (len(decided) if share.counts_all else decided.sum()))


def _influence(
    clusters: Clusters,
    share: Share,
    sums: NDArray[np.float64],
    n_of: NDArray[np.float64],
    parts: NDArray[np.float64],
) -> NDArray[np.float64]:
    """[d], influence on a weighted mean of ratios, from its derivative."""
    below = np.where(n_of > 0, n_of, 1.0)
    values = (sums @ share.right) / below
    gradient = share.right @ (parts / below) - share.of @ (parts * values / below)
    if share.by is not None:
        gradient += share.by @ ((values - parts @ values) / (sums @ share.by).sum())
    return np.asarray(clusters.sums @ gradient).ravel()


def share_interval(found: Evidence | None, confidence: float) -> tuple[float, float]:
    """The lower and the upper bound; 0 and 1 without any decision."""
    if found is None:
        return 0.0, 1.0
    value = min(max(found.value / found.most, 0.0), 1.0)
    n = _effective_decisions(found, value)
    z = found.quantile(confidence)
    centre = (value * n + z * z / 2) / (n + z * z)
    half = z * np.sqrt(centre * (1 - centre) / (n + z * z))
    low, high = max(centre - half, 0.0), min(centre + half, 1.0)
    return min(low * found.most, found.value), max(high * found.most, found.value)


def _effective_decisions(found: Evidence, value: float) -> float:
    greatest = found.n_decisions / found.n_groups
    alone = value * (1 - value) / found.n_decisions  # the variance of as many independent decisions
    measured = min(found.variance() / found.most**2 / alone, greatest * 10) if alone > 0 else 0.0
    n_wrong = found.n_decisions * min(value, 1 - value)
    return found.n_decisions / _design_effect(measured, greatest, n_wrong)


def _design_effect(measured: float, greatest: float, n_wrong: float) -> float:
    """The average of the measured design effect and of the greatest possible one."""
    weight = n_wrong**2 / (n_wrong**2 + _PSEUDO_PAIRS)
    return weight * measured + (1 - weight) * greatest


def drop_interval(first: Evidence | None, second: Evidence | None, confidence: float) -> tuple[float, float]:
    """The bounds of the first metric minus the second, on the same groups.

    Two decisions on which only one model is right are added to the variance of the difference, as Bonett and Price
    (2012) do for proportions: two models that agree on all rows may still differ on others.
    """
    if first is None or second is None:
        return -1.0, 1.0
    value = first.value - second.value
    moved = first.influence - second.influence
    n_groups = int(first.counts.sum())
    variance = float((moved**2) @ first.counts) * n_groups / max(n_groups - 1, 1)
    n_apart = variance * first.n_decisions**2
    greatest = first.n_decisions / first.n_groups
    effect = _design_effect(1.0, greatest, n_apart)
    half = first.quantile(confidence) * np.sqrt(variance + 2 * (effect / first.n_decisions) ** 2)
    return max(value - half, -1.0), min(value + half, 1.0)
