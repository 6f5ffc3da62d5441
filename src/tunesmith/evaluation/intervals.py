"""Bootstrap intervals for any metric whose statistics add up.

The percentile bootstrap over examples (Efron and Tibshirani 1993, chapter 13). Examples with equal statistics
are exchangeable, so only the distinct ones are resampled, with a multinomial over how often each occurs: the
same distribution, and a million classified texts cost no more than a few thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.metrics import Scores, Statistics, total

_BLOCK_ELEMENTS = 20_000_000


@dataclass(frozen=True)
class Interval:
    """A metric's value, and the interval around it."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """As `metrics.json` holds it."""
        return {"value": self.value, "low": self.low, "high": self.high}


def bootstrap(
    statistics: Statistics,
    formula: Callable[[NDArray[np.float64]], Scores],
    *,
    samples: int,
    confidence: float,
    seed: int,
) -> dict[str, Interval]:
    """Every metric of the formula, with its interval.

    Args:
        statistics: [examples, s].
        formula: metrics from sums [..., s].
        samples: resamples.
        confidence: of the interval, 0.95.
        seed: of the resampling.
    """
    values = formula(total(statistics))
    rng = np.random.default_rng(seed)
    resampled: dict[str, list[NDArray[np.float64]]] = {name: [] for name in values}
    for sums in _resampled_sums(statistics, samples, rng):
        for name, scores in formula(sums).items():
            resampled[name].append(scores)
    tail = (1 - confidence) / 2
    return {name: _interval(float(values[name]), np.concatenate(resampled[name]), tail) for name in values}


def _interval(value: float, resampled: NDArray[np.float64], tail: float) -> Interval:
    low, high = np.nanquantile(resampled, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def _resampled_sums(
    statistics: Statistics, samples: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Sums [block, s] of resamples, in blocks that fit in memory."""
    n, width = statistics.shape
    # Rows are equal where their product with a random vector is, but for a chance of about 2e-16.
    keys = np.asarray(statistics @ rng.random(width)).ravel()
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    distinct = statistics[first]
    block = max(1, _BLOCK_ELEMENTS // len(first))
    for start in range(0, samples, block):
        weights = rng.multinomial(n, counts / n, size=min(block, samples - start)).astype(np.float64)
        yield np.asarray((distinct.T @ weights.T).T)
