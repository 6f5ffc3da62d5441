"""How far answers are from the truth where labels have an order: stars, grades, degrees of urgency.

Definitions as in scikit-learn: `mean_absolute_error` of the positions of labels in their order, and
`cohen_kappa_score(weights="quadratic")` (Cohen 1968).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import Metric, Scores, Statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

metrics = (
    Metric(
        "label_distance",
        "minimize",
        "steps",
        "mean distance of labels",
        "how many steps an answer is from the true label, on average",
        "mae",
    ),
    Metric(
        "quadratic_kappa",
        "maximize",
        "agreement",
        "quadratic kappa",
        "agreement, where misses count by their square: 1 is perfect, 0 is chance",
        "cohen_kappa",
        compares_rows=True,
    ),
)

N_COLUMNS = 2
"""Columns of `statistics`."""


def statistics(true: NDArray[np.int64], predicted: NDArray[np.int64]) -> Statistics:
    """Sparse [examples, 2]: the distance of positions, and its square.

    Args:
        true: [examples], position of the true label in the order.
        predicted: [examples], position of the answer.
    """
    from scipy import sparse

    distance = np.abs(true - predicted).astype(np.float64)
    return sparse.csr_matrix(np.stack([distance, distance**2], axis=1))


def formula(
    sums: NDArray[np.float64],
    true: NDArray[np.float64],
    predicted: NDArray[np.float64],
    order: NDArray[np.int64],
) -> Scores:
    """Both metrics.

    Args:
        sums: [..., 2], from `statistics`.
        true: [..., k], number of true labels of each class.
        predicted: [..., k], number of answers of each class.
        order: [k], position of each class.
    """
    n = np.maximum(true.sum(-1), 1e-12)
    apart = (order[:, None] - order[None, :]).astype(np.float64) ** 2
    by_chance = np.einsum("...i,ij,...j->...", true, apart, predicted) / n
    # Where all true labels and all answers are one label, they agree, and chance would agree as well.
    kappa = np.where(by_chance > 0, 1 - sums[..., 1] / np.where(by_chance > 0, by_chance, 1.0), 0.0)
    return {"label_distance": sums[..., 0] / n, "quadratic_kappa": kappa}
