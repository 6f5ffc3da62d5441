"""How well the cosine of two texts tells similar pairs from others.

Of pairs with scores, the correlations of `tunesmith.metrics.regression`. Of pairs that are similar or not: average
precision as in scikit-learn's `average_precision_score`, and the accuracy at a threshold. Average precision needs
the order of all rows, so the statistics are counts at each rank: a resample or a slice ranks its own rows. Above
2,000 different cosines, neighbouring ranks share a count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import SHARE, Metric, Scores, Share, Shares, Statistics, selected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import Array

metrics = (
    Metric(
        "average_precision",
        "maximize",
        SHARE,
        "average precision",
        "the precision, on average over the similar pairs, of all pairs at least as similar",
        compares_rows=True,
    ),
    Metric("accuracy", "maximize", SHARE, "accuracy", "the share of answers that are right"),
)

RANKS = 2000
_WIDTH = 2 * RANKS + 2


def statistics(similar: Array, cosines: Array, threshold: float) -> Statistics:
    """Per pair: its rank among the similar pairs or among the others, and whether the threshold is right.

    Args:
        similar: [pairs], whether they are similar.
        cosines: [pairs], finite.
        threshold: cosine from which a pair counts as similar.

    Returns:
        Sparse [pairs, 2·RANKS + 2]: one-hot rank of a similar pair, the best first; of another; 1; right.
    """
    from scipy import sparse

    similar, cosines = np.asarray(similar, dtype=bool), np.asarray(cosines, dtype=np.float64)
    n = len(cosines)
    _, rank = np.unique(-cosines, return_inverse=True)
    rank = rank * RANKS // max(int(rank.max(initial=0)) + 1, RANKS)
    columns = np.where(similar, rank, RANKS + rank)
    counts = sparse.csr_matrix((np.ones(n), (np.arange(n), columns)), shape=(n, 2 * RANKS))
    right = (cosines >= threshold) == similar
    return sparse.csr_matrix(sparse.hstack([counts, np.stack([np.ones(n), right], axis=1)]))


def formula(sums: NDArray[np.float64]) -> Scores:
    """Average precision and accuracy from sums [..., 2·RANKS + 2]; 0.0 without similar pairs, or without pairs."""
    found, others = np.split(sums[..., :-2], 2, axis=-1)
    above, all_above = np.cumsum(found, axis=-1), np.cumsum(found + others, axis=-1)
    precision = above / np.maximum(all_above, 1e-9)
    return {
        "average_precision": (precision * found).sum(-1) / np.maximum(above[..., -1], 1e-9),
        "accuracy": sums[..., -1] / np.maximum(sums[..., -2], 1e-9),
    }


def shares() -> Shares:
    """Both as shares; each pair is one decision."""
    return {
        "average_precision": Share(of=selected(_WIDTH, range(2 * RANKS))),
        "accuracy": Share(of=selected(_WIDTH, [_WIDTH - 2]), right=selected(_WIDTH, [_WIDTH - 1])),
    }
