"""Which of many overlapping sets of rows are scored worse than the others, beyond what the search finds by chance.

Of hundreds of sets some look weak by chance, so each is compared with what the weakest set of all would look
like if the sets said nothing. Westfall and Young (1993, algorithm 2.8): the rows' residuals are dealt to the
rows anew, and the greatest statistic over all sets is kept. Sets overlap (a label, its words, its cluster), and
the maximum takes that into account, where Holm's correction would pay for the same rows many times. A held-out
half would leave half of the rows for either step. The chance that any set is found where none is weak is at
most the level.

The statistic is Welch's t of the set against the other rows. Rows whose residuals have unlike variances (long
texts have more entities to find) do not disturb it (Janssen 1997). The variance of a small set is drawn towards
that of all rows, as if it had ten more: a set of twenty rows that are all wrong has no variance of its own.

Rows of one group are right or wrong together and cannot be dealt anew; then each group's part of the difference
changes its sign at random instead (the wild bootstrap with the null imposed, Cameron, Gelbach and Miller 2008).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

RESAMPLES = 1000
_BLOCK = 100
_PSEUDO_ROWS = 10.0


def weakness(
    residuals: NDArray[np.float64],
    sets: csr_matrix,
    rng: np.random.Generator,
    *,
    groups: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much worse each set of rows is than the other rows, and how likely the search finds that by chance.

    Args:
        residuals: [rows], what each row adds to the metric beyond the average; above 0 is better.
        sets: [sets, rows], sparse 0/1; no set is empty or has every row.
        rng: source of the resamples.
        groups: [rows], number of each row's group; None if every row is a group of its own.

    Returns:
        [sets], the statistic, above 0 where a set is worse; [sets], its p-value, adjusted for all sets.
    """
    centred = residuals - residuals.mean()
    found = _by_dealing(centred, sets, rng) if groups is None else _by_signs(centred, sets, groups, rng)
    observed, resampled = found
    return observed, _step_down(observed, resampled)


def _by_dealing(
    residuals: NDArray[np.float64], sets: csr_matrix, rng: np.random.Generator
) -> tuple[NDArray[np.float64], Iterator[NDArray[np.float64]]]:
    """The statistic [sets], and blocks [sets, block] of it with the residuals in another order."""
    sizes = np.asarray(sets.sum(axis=1)).ravel()[:, None]

    def resampled() -> Iterator[NDArray[np.float64]]:
        for _ in range(0, RESAMPLES, _BLOCK):
            yield _welch(rng.permuted(np.tile(residuals, (_BLOCK, 1)), axis=1).T, sets, sizes)

    return _welch(residuals[:, None], sets, sizes)[:, 0], resampled()


def _welch(values: NDArray[np.float64], sets: csr_matrix, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Welch's t [sets, columns] of the rows outside each set against those in it, for values [rows, columns]."""
    rest = len(values) - sizes
    variance = np.square(values).mean(axis=0)
    inside, squares = sets @ values, sets @ np.square(values)
    outside = values.sum(axis=0) - inside
    spread = _spread(squares, inside, sizes, variance)
    spread_rest = _spread(variance * len(values) - squares, outside, rest, variance)
    scale = np.sqrt(spread / sizes + spread_rest / rest)
    return np.asarray((outside / rest - inside / sizes) / np.maximum(scale, 1e-12))


def _spread(
    squares: NDArray[np.float64],
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The variance within sets, drawn towards that of all rows."""
    within = np.maximum(squares - sums**2 / sizes, 0.0)
    return np.asarray((within + _PSEUDO_ROWS * variance) / (sizes + _PSEUDO_ROWS))


def _by_signs(
    residuals: NDArray[np.float64], sets: csr_matrix, groups: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], Iterator[NDArray[np.float64]]]:
    """The statistic [sets], and blocks [sets, block] of it with a random sign for each group."""
    from scipy import sparse

    _, members = np.unique(groups, return_inverse=True)
    n, n_groups = len(residuals), int(members.max()) + 1
    of_groups = sparse.csr_matrix((residuals, (np.arange(n), members)), shape=(n, n_groups))
    sizes = np.asarray(sets.sum(axis=1)).ravel()[:, None]
    inside = (sets @ of_groups).toarray()
    outside = np.asarray(of_groups.sum(axis=0)) - inside
    parts = outside / (n - sizes) - inside / sizes
    parts = parts / np.maximum(np.sqrt((parts**2).sum(axis=1, keepdims=True)), 1e-12)

    def resampled() -> Iterator[NDArray[np.float64]]:
        for _ in range(0, RESAMPLES, _BLOCK):
            yield parts @ rng.choice([-1.0, 1.0], size=(n_groups, _BLOCK))

    return parts.sum(axis=1), resampled()


def _step_down(
    observed: NDArray[np.float64], resampled: Iterator[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """[sets], p-values: the share of resamples in which this set or a less weak one is as weak as this."""
    order = np.argsort(-observed, kind="stable")
    above = np.zeros(len(order))
    for block in resampled:
        # From the least weak set upwards: the maximum over the sets that are not weaker than this one.
        greatest = np.maximum.accumulate(block[order][::-1], axis=0)[::-1]
        above += (greatest >= observed[order][:, None] - 1e-9).sum(axis=1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate((1 + above) / (1 + RESAMPLES))
    return adjusted
