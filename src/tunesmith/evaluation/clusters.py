"""Groups of rows that are resampled together.

Questions of one context or sentences of one document tend to be right or wrong together, so a hundred of them say
less than a hundred independent rows. Therefore the sums over each group of rows are resampled, and their spread is
measured; without groups, each row is a group. Groups with equal sums are exchangeable, so only the distinct ones
are stored, with their counts: a million classified texts cost no more than a few thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.metrics import Statistics

_STEP = 1e-5
"""Step of a numeric derivative, relative to the column's absolute sum."""


@dataclass(frozen=True)
class Clusters:
    """The distinct sums over groups of rows.

    Args:
        sums: [d, s], distinct sums of statistics, sparse or dense.
        counts: [d], number of groups with each sum.
        n_effective: effective number of groups: (Σ size)² / Σ size² (Kish 1965).
    """

    sums: Statistics
    counts: NDArray[np.int64]
    n_effective: float

    @classmethod
    def of(cls, statistics: Statistics, groups: NDArray[np.int64] | None) -> Clusters:
        """The groups of some rows.

        Args:
            statistics: [rows, s], statistics of the rows.
            groups: [rows], number of each row's group; None if every row is a group of its own.
        """
        if groups is None:
            return cls(*_distinct(statistics), float(statistics.shape[0]))
        _, members = np.unique(groups, return_inverse=True)
        sizes = np.bincount(members)
        return cls(*_distinct(add_up(statistics, members)), float(sizes.sum() ** 2 / (sizes**2).sum()))

    @property
    def n(self) -> int:
        """The number of groups."""
        return int(self.counts.sum())

    def total(self) -> NDArray[np.float64]:
        """[s], the sums over all rows."""
        return np.asarray(self.sums.T @ self.counts.astype(np.float64)).ravel()

    def influence(self, formula: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
        """[d], change of a metric by a group of each kind, to first order; the sum is about 0.

        Args:
            formula: function from sums [..., s] to the metric.
        """
        scale = np.asarray(abs(self.sums).T @ self.counts.astype(np.float64)).ravel()
        gradient = gradient_of(formula, self.total(), scale)
        moved = np.asarray(self.sums @ gradient).ravel()
        return np.asarray(moved - (moved @ self.counts) / self.n)


def gradient_of(
    formula: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    at: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> NDArray[np.float64]:
    """[s], the numeric derivatives of a metric.

    Args:
        formula: function from sums [..., s] to the metric.
        at: [s], sums at which they are taken.
        scale: [s], size of each sum, which its step is relative to; where it is 0, so is the derivative.
    """
    gradient = np.zeros(len(at))
    for column in np.flatnonzero(scale):
        step = np.zeros_like(at)
        step[column] = _STEP * scale[column]
        ends = formula(np.stack([at + step, at - step]))
        gradient[column] = (ends[0] - ends[1]) / (2 * step[column])
    return gradient


def one_of_each(groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """One row of each group, drawn by the seed; ascending.

    Args:
        groups: [rows], number of each row's group.
        seed: random seed of the draw.
    """
    order = np.random.default_rng(seed).permutation(len(groups))
    _, first = np.unique(groups[order], return_index=True)
    return np.asarray(np.sort(order[first]))


def add_up(statistics: Statistics, members: NDArray[np.int64]) -> Statistics:
    """[groups, s], the sums over the rows of each group, of statistics [rows, s]."""
    from scipy import sparse

    n = len(members)
    indicator = sparse.csr_matrix((np.ones(n), (members, np.arange(n))), shape=(int(members.max()) + 1, n))
    return indicator @ statistics


def _distinct(sums: Statistics) -> tuple[Statistics, NDArray[np.int64]]:
    # Rows with an equal product with a random vector are equal, except with a probability of about 2e-16.
    keys = np.asarray(sums @ np.random.default_rng(0).random(sums.shape[1])).ravel()
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    return sums[first], counts
