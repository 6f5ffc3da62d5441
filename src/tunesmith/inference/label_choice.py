"""Which rows are worth a label: those of which the model is unsure, unlike each other.

Of the rows of which the model is least sure, ten times as many as are wanted are put into as many clusters as
are wanted, in which a row weighs as much as the model is unsure of it; the row nearest to each centre is picked
(Zhdanov 2019, arXiv 1901.05954). So a batch does not ask the same question twice, and leaves out rows that are
like no other. In trials on banking77 and trec, this was better than the margin alone, than clusters of the whole
pool, and than BADGE (Ash et al. 2020); `benchmarks/labelling.md` compares it with rows drawn at random.

Where outputs say nothing of uncertainty (numbers), rows are drawn far from each other and from the rows that have
labels. A base model has no head at all. Then rows are those nearest to the centres of as many clusters of the pool
(typical rows are the best to begin with: Hacohen et al. 2022, arXiv 2202.02794).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDS = 15
_CANDIDATES = 10
"""Rows that are clustered, for each row that is wanted; with 4, trec needed more labels."""


@dataclass(frozen=True)
class Worth:
    """What is known of rows that may be labelled.

    Args:
        vectors: [rows, d], what stands for each.
        uncertainty: [rows], how unsure the model is of each; None where nothing says it.
    """

    vectors: NDArray[np.float32]
    uncertainty: NDArray[np.float64] | None = None

    @classmethod
    def join(cls, parts: Sequence[Worth]) -> Worth:
        """The rows of all parts."""
        unsure = [part.uncertainty for part in parts if part.uncertainty is not None]
        vectors = np.concatenate([part.vectors for part in parts])
        return cls(vectors, np.concatenate(unsure) if unsure else None)


def choose(
    worth: Worth, n: int, seed: int, *, labelled: NDArray[np.float32] | None = None
) -> NDArray[np.int64]:
    """The numbers of the rows that are worth a label, the most useful first; all rows, where there are no more.

    Args:
        worth: what is known of the rows.
        n: number of rows.
        seed: random seed.
        labelled: [labelled, d], vectors of length 1 of the rows that have labels; rows are drawn far from them,
            where nothing says of what the model is unsure.
    """
    rng, vectors = np.random.default_rng([seed, len(worth.vectors)]), unit(worth.vectors)
    n = min(n, len(vectors))
    if worth.uncertainty is not None:
        unsure = np.argsort(-worth.uncertainty, kind="stable")[: _CANDIDATES * n]
        weights = np.maximum(worth.uncertainty[unsure], 1e-9)
        return np.asarray(unsure[typical_rows(vectors[unsure], n, rng, weights)])
    if labelled is not None:
        return spread_rows(vectors, n, rng, drawn=labelled)
    return typical_rows(vectors, n, rng)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors [rows, d] at length 1."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def spread_rows(
    vectors: NDArray[np.float32],
    n: int,
    rng: np.random.Generator,
    *,
    weights: NDArray[np.float64] | None = None,
    drawn: NDArray[np.float32] | None = None,
) -> NDArray[np.int64]:
    """Rows drawn one after the other, by the squared distance from those before (k-means++).

    Args:
        vectors: [rows, d].
        n: number of rows, at most that of `vectors`.
        rng: source of the draws.
        weights: [rows], factors of the distances; 1 when None.
        drawn: [m, d], what counts as drawn before.
    """
    weights = np.ones(len(vectors)) if weights is None else weights
    distances, left = np.full(len(vectors), np.inf), np.ones(len(vectors), dtype=bool)
    for one in drawn if drawn is not None else ():
        distances = np.minimum(distances, ((vectors - one) ** 2).sum(axis=1))
    chosen: list[int] = []
    for _ in range(n):
        known = np.where(np.isfinite(distances), distances, 1.0)
        chosen.append(_draw(np.where(left, weights * known, 0.0), left, rng))
        left[chosen[-1]] = False
        distances = np.minimum(distances, ((vectors - vectors[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(chosen, dtype=np.int64)


def _draw(distances: NDArray[np.float64], left: NDArray[np.bool_], rng: np.random.Generator) -> int:
    """A row, with a probability in proportion to its distance; of rows that are all alike, any."""
    total = distances.sum()
    weights = distances / total if total > 0 else left / left.sum()
    return int(rng.choice(len(weights), p=weights))


def typical_rows(
    vectors: NDArray[np.float32],
    n: int,
    rng: np.random.Generator,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """The rows nearest to the centres of n clusters (k-means), that of the heaviest cluster first.

    Args:
        vectors: [rows, d].
        n: number of clusters, at most that of the rows.
        rng: source of the first centres.
        weights: [rows], weight of each; 1 when None.
    """
    weights = np.ones(len(vectors)) if weights is None else weights
    centres = vectors[spread_rows(vectors, n, rng, weights=weights)]
    for _ in range(_ROUNDS):
        moved = _means(vectors, weights, _distances(vectors, centres).argmin(axis=1), centres)
        if np.allclose(moved, centres, atol=1e-5):
            break
        centres = moved
    distances = _distances(vectors, centres)
    heaviness = np.bincount(distances.argmin(axis=1), weights, minlength=n)
    chosen = []
    for cluster in np.argsort(-heaviness, kind="stable"):
        row = int(distances[:, cluster].argmin())
        chosen.append(row)
        distances[row] = np.inf
    return np.array(chosen, dtype=np.int64)


def _distances(vectors: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.float32]:
    """[rows, centres], squared distances."""
    return np.asarray(
        (vectors**2).sum(axis=1)[:, None] - 2 * vectors @ centres.T + (centres**2).sum(axis=1)[None]
    )


def _means(
    vectors: NDArray[np.float32],
    weights: NDArray[np.float64],
    nearest: NDArray[np.int64],
    centres: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The weighted mean of each cluster; an empty one keeps its centre."""
    from scipy import sparse

    n = len(vectors)
    members = sparse.csr_matrix((weights, (nearest, np.arange(n))), shape=(len(centres), n))
    sums = np.bincount(nearest, weights, minlength=len(centres))[:, None]
    return np.asarray(np.where(sums > 0, members @ vectors / np.maximum(sums, 1e-12), centres), np.float32)
