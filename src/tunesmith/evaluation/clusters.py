"""Rows that are drawn together: the unit of every interval.

Questions of one context or sentences of one document are right and wrong together, so that a hundred of them say
less than a hundred rows drawn one by one. What is resampled, and whose spread is measured, are therefore the sums
over each group of rows; without groups, a row is a group. Groups with equal sums are exchangeable, so that only
the distinct ones are stored, with how often each occurs: a million classified texts cost no more than a few
thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.metrics import Statistics

_STEP = 1e-5
"""Of a numeric derivative, relative to the column's absolute sum."""


@dataclass(frozen=True)
class Clusters:
    """The distinct sums over groups of rows.

    Args:
        sums: [d, s], sparse or dense: distinct sums of statistics.
        counts: [d], how many groups have them.
        n_effective: groups of equal size that say as much: (Σ size)² / Σ size² (Kish 1965).
    """

    sums: Statistics
    counts: NDArray[np.int64]
    n_effective: float

    @classmethod
    def of(cls, statistics: Statistics, groups: NDArray[np.int64] | None) -> Clusters:
        """The groups of some rows.

        Args:
            statistics: [rows, s].
            groups: [rows], a number for each group; None is each row by itself.
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
        """[d], by how much a group of each kind moves a metric, to first order; they sum to about 0.

        Args:
            formula: the metric from sums [..., s].
        """
        whole = self.total()
        scale = np.asarray(abs(self.sums).T @ self.counts.astype(np.float64)).ravel()
        used = np.flatnonzero(scale)
        gradient = np.zeros(len(whole))
        for column in used:
            step = np.zeros_like(whole)
            step[column] = _STEP * scale[column]
            ends = formula(np.stack([whole + step, whole - step]))
            gradient[column] = (ends[0] - ends[1]) / (2 * step[column])
        moved = np.asarray(self.sums @ gradient).ravel()
        return np.asarray(moved - (moved @ self.counts) / self.n)


def add_up(statistics: Statistics, members: NDArray[np.int64]) -> Statistics:
    """[groups, s], the sums over the rows of each group, of statistics [rows, s]."""
    from scipy import sparse

    n = len(members)
    indicator = sparse.csr_matrix((np.ones(n), (members, np.arange(n))), shape=(int(members.max()) + 1, n))
    return indicator @ statistics


def _distinct(sums: Statistics) -> tuple[Any, NDArray[np.int64]]:
    # Rows are equal where their product with a random vector is, but for a chance of about 2e-16.
    keys = np.asarray(sums @ np.random.default_rng(0).random(sums.shape[1])).ravel()
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    return sums[first], counts
