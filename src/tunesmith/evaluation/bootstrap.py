"""Bootstrap intervals for metrics that are not shares: losses, errors, margins, correlations.

The method is the bias-corrected and accelerated bootstrap (BCa: Efron 1987) over groups of rows, with quantiles of
Student's distribution instead of normal ones: the variance of a resample of n groups is too small by a factor of
(n - 1) / n, and it is an estimate (Hesterberg 2015, "expanded" intervals). More than twenty thousand distinct
groups are joined at random into ten thousand: the sums of a resample vary as before, and a million rows take
seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluation.clusters import Clusters, add_up
from tunesmith.metrics import Scores

_BLOCK_ELEMENTS = 20_000_000
_MOST_GROUPS = 10_000
_LEAST_TAIL = 1e-6


def bootstrap(
    clusters: Clusters,
    formula: Callable[[NDArray[np.float64]], Scores],
    *,
    samples: int,
    confidence: float,
    seed: int,
) -> dict[str, tuple[float, float]]:
    """The bounds of every metric of the formula.

    Args:
        clusters: groups of the rows.
        formula: function from sums [..., s] to metrics.
        samples: number of resamples.
        confidence: confidence level of the interval, 0.95.
        seed: random seed for resampling.
    """
    rng = np.random.default_rng(seed)
    clusters = _joined(clusters, rng)
    values = formula(clusters.total())
    resampled: dict[str, list[NDArray[np.float64]]] = {name: [] for name in values}
    for sums in _resampled_sums(clusters, samples, rng):
        for name, scores in formula(sums).items():
            resampled[name].append(scores)
    return {
        name: _bca(
            float(value),
            np.concatenate(resampled[name]),
            _acceleration(clusters, lambda sums, name=name: formula(sums)[name]),  # type: ignore[misc]
            _normal_quantile(clusters.n_effective, confidence),
        )
        for name, value in values.items()
    }


def _joined(clusters: Clusters, rng: np.random.Generator) -> Clusters:
    if len(clusters.counts) <= 2 * _MOST_GROUPS:
        return clusters
    every = np.repeat(np.arange(len(clusters.counts)), clusters.counts)
    members = rng.permutation(len(every)) % _MOST_GROUPS
    sums = add_up(clusters.sums[every], members)
    return Clusters(sums, np.ones(_MOST_GROUPS, dtype=np.int64), float(_MOST_GROUPS))


def _resampled_sums(
    clusters: Clusters, samples: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Sums [block, s] of resamples, in blocks that fit into memory."""
    shares = clusters.counts / clusters.n
    block = max(1, _BLOCK_ELEMENTS // len(shares))
    for start in range(0, samples, block):
        weights = rng.multinomial(clusters.n, shares, size=min(block, samples - start)).astype(np.float64)
        yield np.asarray((clusters.sums.T @ weights.T).T)


def _normal_quantile(n: float, confidence: float) -> float:
    """The normal quantile whose percentile of the resamples is that of Student's interval for n groups."""
    from scipy.special import stdtrit

    return float(np.sqrt(n / max(n - 1, 1.0)) * stdtrit(max(n - 1, 1.0), (1 + confidence) / 2))


def _acceleration(clusters: Clusters, formula: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> float:
    """A sixth of the skewness of the influences (Efron 1987, section 7)."""
    influence = clusters.influence(formula)
    spread = float((influence**2) @ clusters.counts)
    return float((influence**3) @ clusters.counts) / (6 * spread**1.5) if spread > 0 else 0.0


def _bca(value: float, resampled: NDArray[np.float64], acceleration: float, z: float) -> tuple[float, float]:
    from scipy.special import ndtr, ndtri

    resampled = resampled[~np.isnan(resampled)]
    if not len(resampled):
        return value, value
    below = (np.sum(resampled < value) + np.sum(resampled == value) / 2) / len(resampled)
    bias = float(ndtri(np.clip(below, 1 / len(resampled), 1 - 1 / len(resampled))))
    moved = bias + np.array([-z, z])
    tails = ndtr(bias + moved / np.maximum(1 - acceleration * moved, 0.1))
    low, high = np.quantile(resampled, np.clip(tails, _LEAST_TAIL, 1 - _LEAST_TAIL))
    return min(float(low), value), max(float(high), value)
