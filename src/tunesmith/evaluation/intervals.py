"""Every metric of some rows, with its interval.

A metric that is a share (`tunesmith.metrics.Share`) has the interval of a proportion with the effective number
of decisions (`evaluation/shares.py`). Any other metric has a bootstrap interval (`evaluation/bootstrap.py`).
Both take rows of one group together (`evaluation/clusters.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluation.bootstrap import bootstrap
from tunesmith.evaluation.clusters import Clusters
from tunesmith.evaluation.shares import Evidence, drop_interval, evidence, share_interval
from tunesmith.metrics import Scores, Share, Shares, Statistics, total

Formula = Callable[[NDArray[np.float64]], Scores]
"""Metrics from sums [..., s]."""


@dataclass(frozen=True)
class Interval:
    """The value of a metric, and its interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """The content for `metrics.json`."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Method:
    """How intervals are computed.

    Args:
        samples: number of resamples for a metric that is not a share.
        confidence: confidence level of the interval, 0.95.
        seed: random seed for resampling.
    """

    samples: int
    confidence: float
    seed: int


def intervals(
    statistics: Statistics,
    formula: Formula,
    shares: Shares,
    method: Method,
    *,
    groups: NDArray[np.int64] | None = None,
) -> dict[str, Interval]:
    """Every metric of the formula, with its interval.

    Args:
        statistics: [rows, s], statistics of the rows.
        formula: function from sums to metrics.
        shares: metrics that are shares.
        method: confidence level, number of resamples and seed.
        groups: [rows], number of each row's group; None if every row is a group of its own.
    """
    values = formula(total(statistics))
    clusters = Clusters.of(statistics, groups)
    bounds = {
        name: share_interval(_evidence(clusters, statistics, share, formula, name), method.confidence)
        for name, share in shares.items()
        if name in values
    }
    if rest := values.keys() - bounds.keys():
        bounds |= _resampled(clusters, formula, sorted(rest), method)
    return {name: Interval(float(value), *map(float, bounds[name])) for name, value in values.items()}


def paired_drop(
    statistics: Statistics,
    formulas: tuple[Formula, Formula],
    shares: tuple[Shares, Shares],
    metric: str,
    method: Method,
    *,
    width: int,
    groups: NDArray[np.int64] | None = None,
) -> Interval:
    """A metric of one model minus that of another on the same rows, with its interval.

    Args:
        statistics: [rows, s + t], statistics of the first and the second model side by side.
        formulas: functions from sums to metrics, for both models.
        shares: metrics that are shares, for both models.
        metric: name of the metric.
        method: confidence level, number of resamples and seed.
        width: s, the number of columns of the first model.
        groups: [rows], number of each row's group, see `intervals`.
    """
    clusters = Clusters.of(statistics, groups)

    def difference(sums: NDArray[np.float64]) -> Scores:
        one, other = formulas[0](sums[..., :width]), formulas[1](sums[..., width:])
        return {metric: one[metric] - other[metric]}

    value = float(difference(total(statistics))[metric])
    if metric not in shares[0]:
        return Interval(value, *_resampled(clusters, difference, [metric], method)[metric])
    halves = [slice(None, width), slice(width, None)]
    found = [
        _evidence(
            Clusters(clusters.sums[:, half], clusters.counts, clusters.n_effective),
            statistics[:, half],
            share[metric],
            formula,
            metric,
        )
        for half, share, formula in zip(halves, shares, formulas, strict=True)
    ]
    return Interval(value, *map(float, drop_interval(found[0], found[1], method.confidence)))


def _evidence(
    clusters: Clusters, statistics: Statistics, share: Share, formula: Formula, name: str
) -> Evidence | None:
    return evidence(clusters, statistics, share, lambda sums: formula(sums)[name])


def _resampled(
    clusters: Clusters, formula: Formula, names: list[str], method: Method
) -> dict[str, tuple[float, float]]:
    return bootstrap(
        clusters,
        lambda sums: {name: scores for name, scores in formula(sums).items() if name in names},
        samples=method.samples,
        confidence=method.confidence,
        seed=method.seed,
    )
