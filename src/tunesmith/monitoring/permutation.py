"""Whether a window of rows comes from the same source as the reference: one test for all kinds of value.

A value becomes features, and the statistic is the squared distance between the mean features of the window and
those of the reference. With random Fourier features (Rahimi and Recht 2007) that is the MMD of a Gaussian kernel
(Gretton et al. 2012); with one feature a label it is chi-square; with one feature a quantile it is a test of
Anderson-Darling's kind. Features may depend on all rows together, but not on which of them are the window's. So
if all rows come from one source, every division of them is as likely as the real one, and the p-value is exact:
at most a share `a` of such windows has p ≤ a, whatever the model, the texts or their number.

Permutations are drawn until `EXCEEDANCES` of them reach the real statistic (Besag and Clifford 1991). So a window
without drift costs about a hundred, and one with drift as many as its small p-value needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

EXCEEDANCES = 10
_FIRST_BLOCK, _BLOCK = 128, 512
_MOST_PERMUTATIONS = 100_000
_TOLERANCE = 1e-5
"""Relative rounding errors of sums; divisions that tie with the real one count as reaching it."""
_FREQUENCIES = 256
_LEAST_SPREAD = 1e-6
_QUANTILES = 32
_RARE = 1e-9


@dataclass(frozen=True)
class Distance:
    """How far a window is from the reference.

    Args:
        p: p-value of the permutation test.
        ratio: the squared distance, in units of what it is on average by chance.
    """

    p: float
    ratio: float


def permutation_test(features: NDArray[np.floating], n_reference: int, *, level: float) -> Distance:
    """Compares the mean features of the last rows with those of the first rows.

    Args:
        features: [rows, d]; the rows of the reference come first.
        n_reference: number of the rows of the reference.
        level: the p-value that matters: smaller ones are found down to half of it.
    """
    x = features - features.mean(axis=0)
    n = len(x) - n_reference
    real = float(_squared(x[n_reference:].sum(axis=0, dtype=np.float64)[None])[0])
    most = int(min(np.ceil(2 / level), _MOST_PERMUTATIONS))
    reached, drawn, by_chance = 0, 0, 0.0
    for members in _divisions(len(x), n, most):
        found = _squared(members @ x)
        by_chance = by_chance or float(found.mean())
        counts = reached + np.cumsum(found >= real * (1 - _TOLERANCE))
        if counts[-1] >= EXCEEDANCES:
            last = drawn + int(np.searchsorted(counts, EXCEEDANCES)) + 1
            return Distance(EXCEEDANCES / last, real / max(by_chance, _RARE))
        reached, drawn = int(counts[-1]), drawn + len(found)
    return Distance((reached + 1) / (drawn + 1), real / max(by_chance, _RARE))


def _squared(sums: NDArray[np.floating]) -> NDArray[np.float64]:
    """[divisions], squared lengths. Features are centred, so the sum of the window says it all."""
    wide = sums.astype(np.float64)
    return np.asarray(np.einsum("ij,ij->i", wide, wide))


def _divisions(n_rows: int, n: int, most: int) -> Iterator[NDArray[np.float32]]:
    """Random divisions of the rows, block by block: [divisions, rows], 1 for a row of the window."""
    yield _block(n_rows, n, 0, min(_FIRST_BLOCK, most))
    done = _FIRST_BLOCK
    while done < most:
        size = min(_BLOCK, most - done)
        yield _block.__wrapped__(n_rows, n, done, size)
        done += size


@lru_cache(maxsize=16)
def _block(n_rows: int, n: int, start: int, size: int) -> NDArray[np.float32]:
    """Divisions are a function of the sizes alone: all windows of a size are compared with the same ones."""
    rng = np.random.default_rng([n_rows, n, start])
    chosen = rng.random((size, n_rows), dtype=np.float32).argpartition(n - 1, axis=1)[:, :n]
    members = np.zeros((size, n_rows), dtype=np.float32)
    np.put_along_axis(members, chosen, 1.0, axis=1)
    return members


# ---- features ----


def of_vectors(vectors: NDArray[np.floating], seed: int) -> NDArray[np.float32]:
    """[rows, d], random Fourier features of a Gaussian kernel, as wide as vectors are distant.

    Whitened vectors were tried: on reviews, a quarter of them of another domain, the statistic was 4 standard
    deviations from what chance gives, and it is 10 without.

    Args:
        vectors: [rows, d].
        seed: random seed of the frequencies.
    """
    x = vectors.astype(np.float64)
    x = x - x.mean(axis=0)
    width = max(
        float(np.sqrt(2 * x.var(axis=0).sum())), _RARE
    )  # root of the mean squared distance of two rows
    frequencies = np.random.default_rng(seed).standard_normal((x.shape[1], _FREQUENCIES)) / width
    angles = (x @ frequencies).astype(np.float32)
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def standardised(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """[rows, d], vectors of which each number varies alike: some models have one that is far above the others."""
    x = vectors.astype(np.float64)
    spread = x.std(axis=0)
    return np.asarray(
        (x - x.mean(axis=0)) / np.maximum(spread, max(_LEAST_SPREAD * float(spread.mean()), _RARE))
    )


def of_counts(counts: NDArray[np.floating]) -> NDArray[np.float64]:
    """[rows, k], how often a row has each label, so weighted that the statistic is chi-square.

    Args:
        counts: [rows, k].
    """
    total = counts.mean(axis=0, dtype=np.float64)
    there = total > 0
    return np.asarray(counts[:, there] / np.sqrt(total[there]))


def of_numbers(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """[rows, q], whether a number is at most each quantile of all, so weighted that the tails count.

    Args:
        values: [rows], finite.
    """
    borders = np.unique(np.quantile(values, (np.arange(_QUANTILES) + 0.5) / _QUANTILES))
    below = (values[:, None] <= borders).astype(np.float64)
    share = below.mean(axis=0)
    varies = (share > 0) & (share < 1)
    return np.asarray(below[:, varies] / np.sqrt(share[varies] * (1 - share[varies])))
