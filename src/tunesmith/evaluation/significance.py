"""Whether two models on the same rows differ by more than chance: p-values, and their correction.

Answers that are right or wrong are compared by McNemar's test, which counts the rows that only one model has
right. Any other metric (F1, chrF, a loss), and rows in groups, are compared by a permutation test: if the models
are equally good, each row's two answers could as well have come from the other model. So they are swapped at
random, those of one group together, and the metric is computed again. Two models may be equally good and err in
different ways: one misses entities, the other invents some. Then the difference varies more than its swapped
versions do, up to 6.8 % instead of 5 % are rejected, and so the difference is divided by the ratio of the two
standard deviations, if it is above 1 (studentised: Janssen 1997). If what the rows add to the difference is
skewed, up to 8 % are rejected with 30 rows, so the difference is also reduced by Hall's correction (1992).
Flipping the signs of influences needs no metric again, but was dropped: with 30 rows and rare labels, 15 % of
macro F1 were rejected.

Both distributions are discrete for a few rows. The exact p-value is then far too large, and the mid-p value
(Lancaster 1961; for McNemar, Fagerland, Lydersen and Laake 2013) too small for some numbers of rows: at 5 %,
exact rejects in 2.7 to 5.0 % of cases with 50 to 1,000 rows that differ, mid-p in 3.6 to 6.5 %, and with fewer
rows in up to 7.7 %. So the mid-p value is taken, but never less than the exact one divided by 1.08: then the
level is at most 5.4 % for every number of rows, and at least 3.0 % from 50 on. `benchmarks/trust-tests.md` has
the measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluation.clusters import add_up, gradient_of
from tunesmith.metrics import Statistics, total

Formula = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""The metric from sums [..., s]."""

TestName = Literal["mcnemar", "permutation"]

FLIPS = 10_000
"""Random swaps of a test, so that no p-value is below 0.0001."""

_FEW_UNITS = 500
_MOST_UNITS = 10_000
_BLOCK_ELEMENTS = 20_000_000
_LEVEL_RATIO = 1.08
"""Highest level of a test, relative to the level that was asked for."""


@dataclass(frozen=True)
class Significance:
    """The result of a paired test.

    Args:
        test: which test it was.
        p: p-value, two-sided.
    """

    test: TestName
    p: float


def mcnemar(only_first: int, only_second: int) -> Significance:
    """McNemar's test.

    Args:
        only_first: number of rows that only the first model has right.
        only_second: number of rows that only the second model has right.
    """
    from scipy.stats import binom

    n, fewer = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        return Significance("mcnemar", 1.0)
    beyond, equal = 2 * binom.cdf(fewer - 1, n, 0.5), 2 * binom.pmf(fewer, n, 0.5)
    return Significance("mcnemar", _p_value(float(beyond), float(equal)))


def permutation(
    first: Statistics, second: Statistics, formula: Formula, seed: int, flips: int = FLIPS
) -> Significance:
    """The permutation test that swaps the answers of both models.

    Args:
        first: [units, s], statistics of the first model, each of a row or of a group of rows.
        second: [units, s], statistics of the second model, of the same rows.
        formula: function from sums [..., s] to the metric.
        seed: random seed for the swaps.
        flips: number of random swaps.
    """
    rng = np.random.default_rng(seed)
    first, second = _units(first, second, rng)
    sums = total(first), total(second)
    observed = float(abs(formula(sums[0]) - formula(sums[1]))) * _reduction(first, second, formula)
    rounding = 1e-9 * observed + 1e-12
    if observed <= rounding:
        return Significance("permutation", 1.0)
    beyond = equal = 0
    for moved in _swapped(second - first, flips, rng):
        found = np.abs(formula(sums[0] + moved) - formula(sums[1] - moved))
        beyond += int(np.sum(found > observed + rounding))
        equal += int(np.sum(np.abs(found - observed) <= rounding))
    # What was observed is one of the permutations (Phipson and Smyth 2010).
    return Significance("permutation", _p_value(beyond / (flips + 1), (equal + 1) / (flips + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, corrected so that all outcomes together hold the level (Holm 1979)."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=lambda number: p_values[number])):
        largest = max(largest, min((len(p_values) - rank) * p_values[number], 1.0))
        corrected[number] = largest
    return corrected


def _p_value(beyond: float, equal: float) -> float:
    """The mid-p value, or the exact one divided by 1.08 if that is greater.

    Args:
        beyond: probability of a greater difference, if the models are equally good.
        equal: probability of the same difference.
    """
    return min(max(beyond + equal / 2, (beyond + equal) / _LEVEL_RATIO), 1.0)


def _units(first: Statistics, second: Statistics, rng: np.random.Generator) -> tuple[Statistics, Statistics]:
    """The units in an order of their own, so that the order of the rows changes nothing.

    More than twenty thousand units are joined at random into ten thousand, with the same sums.
    """
    n = first.shape[0]
    key = np.random.default_rng(0).random((2, first.shape[1]))
    order = np.argsort(np.asarray(first @ key[0] + second @ key[1]), kind="stable")
    first, second = first[order], second[order]
    if n <= 2 * _MOST_UNITS:
        return first, second
    members = rng.permutation(n) % _MOST_UNITS
    return add_up(first, members), add_up(second, members)


def _reduction(first: Statistics, second: Statistics, formula: Formula) -> float:
    """Factor, at most 1, by which the difference is reduced so that its swapped versions are a fair comparison.

    It is below 1 if the difference varies more than its swapped versions do, or if what the units add to it is
    skewed, so that a few of them may just be missing among the rows.
    """
    sums, scale = (total(first), total(second)), total(abs(first)) + total(abs(second))
    at_first, at_second, between = (
        gradient_of(formula, at, scale) for at in (*sums, (sums[0] + sums[1]) / 2)
    )
    own = np.asarray(first @ at_first - second @ at_second)
    swapped = np.std(np.asarray((first - second) @ between))
    spread = max(np.std(own), _left_out_spread(first, second, sums, formula))
    difference = float(formula(sums[0]) - formula(sums[1]))
    if spread == 0 or difference == 0:
        return 1.0
    t = difference / (spread * np.sqrt(len(own)))
    skewness = float(np.mean((own - own.mean()) ** 3) / spread**3)
    return min(float(swapped / spread), 1.0) * _without_skewness(t, skewness, len(own))


def _left_out_spread(
    first: Statistics, second: Statistics, sums: tuple[NDArray[np.float64], ...], formula: Formula
) -> float:
    """The spread of what each unit changes when it is left out (the jackknife); 0 for many units.

    Of few rows, derivatives underestimate it for metrics that are far from a mean, such as correlations.
    """
    n = first.shape[0]
    if n > _FEW_UNITS:
        return 0.0
    one, other = (
        np.asarray(it.toarray() if hasattr(it, "toarray") else it, dtype=np.float64) for it in (first, second)
    )
    left = np.asarray(formula(sums[0] - one)) - np.asarray(formula(sums[1] - other))
    return float(np.std(left))


def _without_skewness(t: float, skewness: float, n: int) -> float:
    """Hall's corrected t-statistic (1992) as a share of t, from 0 to 1."""
    terms = skewness * t**2 / 3 + skewness / 6, skewness**2 * t**3 / 27
    corrected = t + terms[0] / np.sqrt(n) + terms[1] / n
    return float(np.clip(corrected / t, 0.0, 1.0))


def _swapped(moved: Statistics, flips: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """What random swaps add to the sums of the first model [block, s], in blocks that fit into memory.

    Args:
        moved: [units, s], what the swap of a unit adds.
        flips: number of random swaps.
        rng: random generator.
    """
    n_units = moved.shape[0]
    block = max(1, _BLOCK_ELEMENTS // n_units)
    for start in range(0, flips, block):
        n = min(block, flips - start)
        bits = rng.integers(0, 256, size=(n, -(-n_units // 8)), dtype=np.uint8)
        is_swapped = np.unpackbits(bits, axis=1, count=n_units).astype(np.float64)
        yield np.asarray((moved.T @ is_swapped.T).T)
