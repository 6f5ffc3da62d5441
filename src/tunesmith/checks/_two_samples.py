"""Whether two sets of rows come from one source: a classifier tries to tell them apart (Lopez-Paz and Oquab 2017).

The classifier is ridge regression on the features, so its answers are linear in what it is told. All
permutations are therefore answered by one product of matrices, and the p-value needs no assumption: it is the
share of permutations whose cross-validated AUC is at least that of the real sets (Phipson and Smyth 2010).

Rows that belong together would break the test, since permutations tear them apart. So the caller gives one row
of each text and of each group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_PERMUTATIONS = 199
_N_FOLDS = 5
_RIDGE = 0.1
"""Penalty relative to the mean variance of a feature times the number of rows."""


@dataclass(frozen=True)
class Difference:
    """How well two sets can be told apart.

    Args:
        auc: cross-validated area under the ROC curve; 0.5 is chance.
        p: p-value of the permutation test.
        scores: [rows], how much each row is like the second set, by a classifier that did not see it.
    """

    auc: float
    p: float
    scores: NDArray[np.float64]


def tell_apart(
    one: NDArray[np.float32],
    other: NDArray[np.float32],
    *,
    seed: int,
    permutations: int = N_PERMUTATIONS,
) -> Difference:
    """How well a linear classifier tells two sets of rows apart.

    Args:
        one: [n, d], features of independent rows.
        other: [m, d], features of independent rows.
        seed: random seed of folds and permutations.
        permutations: number of permutations.
    """
    rng = np.random.default_rng(seed)
    x = np.concatenate([one, other]).astype(np.float64)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12 + 1e-6 * float(x.std(axis=0).mean()))
    real = np.repeat([0.0, 1.0], [len(one), len(other)])
    drawn = np.stack([real, *(rng.permutation(real) for _ in range(permutations))], axis=1)
    # Folds must not know the real sets: permutations would then not be like them, and p would be too small.
    folds = rng.permutation(np.arange(len(real)) % _N_FOLDS)
    scores = _held_out(x, drawn, folds)
    found = np.mean([_aucs(scores[folds == fold], drawn[folds == fold]) for fold in range(_N_FOLDS)], axis=0)
    p = float((found >= found[0] - 1e-12).sum() / len(found))
    return Difference(float(found[0]), p, scores[:, 0])


def _held_out(
    x: NDArray[np.float64], drawn: NDArray[np.float64], folds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """[rows, permutations], the answer of ridge regression on the other folds."""
    scores = np.empty_like(drawn)
    for fold in range(_N_FOLDS):
        held, seen = folds == fold, folds != fold
        told = drawn[seen] - drawn[seen].mean(axis=0)
        gram = x[seen].T @ x[seen]
        gram[np.diag_indices_from(gram)] += _RIDGE * seen.sum()
        scores[held] = x[held] @ np.linalg.solve(gram, x[seen].T @ told)
    return scores


def _aucs(scores: NDArray[np.float64], told: NDArray[np.float64]) -> NDArray[np.float64]:
    """[permutations], the area under the ROC curve; equal scores count as half."""
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=0)
    n_other = told.sum(axis=0)
    n_one = len(told) - n_other
    above = (ranks * told).sum(axis=0) - n_other * (n_other + 1) / 2
    return np.asarray(above / np.maximum(n_one * n_other, 1.0))
