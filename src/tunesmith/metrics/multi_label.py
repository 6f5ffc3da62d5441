"""F1 and exact match of any number of labels per text, and the thresholds that turn probabilities into labels.

Definitions as in scikit-learn's `f1_score(average="micro" | "macro", zero_division=0)` and `accuracy_score` for
multi-label arrays: the macro average is over all labels, and a label that never occurs counts as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import SHARE, Metric, Scores, Share, Shares, Statistics, selected
from tunesmith.metrics.classification import f1_by_class, label_table, micro_shares, per_class_f1

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import Array

metrics = (
    Metric(
        "f1_micro",
        "maximize",
        SHARE,
        "F1, micro average",
        "precision and recall in one number, over all labels of all rows",
        "f1",
    ),
    Metric(
        "f1_macro",
        "maximize",
        SHARE,
        "F1, macro average",
        "the mean of the F1 of every label: a rare label counts as much as a frequent one",
        "f1",
    ),
    Metric(
        "precision_micro",
        "maximize",
        SHARE,
        "precision, micro average",
        "the share of the given labels that are right",
        "precision",
    ),
    Metric(
        "recall_micro",
        "maximize",
        SHARE,
        "recall, micro average",
        "the share of the true labels that were given",
        "recall",
    ),
    Metric("exact_match", "maximize", SHARE, "exact match", "the share of rows whose whole answer is right"),
)

MIN_TRUE_ROWS = 10
"""A label with fewer true rows gets the common threshold of all labels."""


def statistics(labels: Array, predicted: Array) -> Statistics:
    """Per example: the true labels, the predicted labels, and the labels on which both agree.

    Args:
        labels: [examples, k], 0 or 1.
        predicted: [examples, k], 0 or 1.

    Returns:
        Sparse [examples, 3k + 2]: true, predicted, agreed, then 1 if all k are right, and 1.
    """
    from scipy import sparse

    true, guessed = np.asarray(labels, dtype=bool), np.asarray(predicted, dtype=bool)
    exact = (true == guessed).all(axis=1, keepdims=True)
    parts = [true, guessed, true & guessed, exact, np.ones_like(exact)]
    return sparse.hstack([sparse.csr_matrix(part, dtype=np.float64) for part in parts], format="csr")


def formula(sums: NDArray[np.float64]) -> Scores:
    """F1 (micro, macro), precision and recall (micro), and exact match, from sums [..., 3k + 2].

    A score with nothing to count is 0.0.
    """
    true, predicted, agreed = np.split(sums[..., :-2], 3, axis=-1)
    n_true, n_predicted, n_agreed = true.sum(-1), predicted.sum(-1), agreed.sum(-1)
    return {
        "f1_micro": 2 * n_agreed / np.maximum(n_true + n_predicted, 1.0),
        "f1_macro": per_class_f1(sums[..., :-2]).mean(-1),
        "precision_micro": n_agreed / np.maximum(n_predicted, 1.0),
        "recall_micro": n_agreed / np.maximum(n_true, 1.0),
        "exact_match": sums[..., -2] / np.maximum(sums[..., -1], 1.0),
    }


def shares(n_labels: int) -> Shares:
    """All metrics as shares, for statistics of 3k + 2 columns."""
    width = 3 * n_labels + 2
    f1, precision, recall = micro_shares(n_labels, width)
    return {
        "f1_micro": f1,
        "f1_macro": replace(f1_by_class(n_labels, width), counts_all=True),
        "precision_micro": precision,
        "recall_micro": recall,
        "exact_match": Share(of=selected(width, [width - 1]), right=selected(width, [width - 2])),
    }


def per_label(sums: NDArray[np.float64]) -> dict[str, list[float | None]]:
    """Precision, recall, F1 and support of each label [k] from sums [3k + 2]; None where nothing is counted."""
    return label_table(sums[..., :-2])


def fit_thresholds(
    probabilities: Array, labels: Array, *, grid: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """The threshold of each label with the best F1 on these rows.

    A label is predicted if its probability is at least its threshold. A label with fewer than `MIN_TRUE_ROWS` true
    rows gets the common threshold with the best micro F1 over all labels: the best F1 of a few rows is mostly
    chance, and its threshold can be anywhere. Among equals, the threshold nearest to 0.5 wins, then the lower one,
    so the result is always the same.

    Args:
        probabilities: [examples, k], read as float32, the type of a model's outputs.
        labels: [examples, k], 0 or 1.
        grid: thresholds to choose from; None takes the midpoints between neighbouring probabilities.

    Returns:
        [k] thresholds; all 0.5 if no row is true.
    """
    scores, true = np.asarray(probabilities, dtype=np.float32), np.asarray(labels, dtype=bool)
    if not true.any():
        return np.full(scores.shape[1], 0.5, dtype=np.float32)
    thresholds = _best_thresholds(scores, true, grid)
    few = true.sum(axis=0) < MIN_TRUE_ROWS
    if few.any():
        thresholds[few] = _best_thresholds(scores.reshape(-1, 1), true.reshape(-1, 1), grid)
    return thresholds


def _best_thresholds(
    scores: NDArray[np.float32], true: NDArray[np.bool_], grid: Sequence[float] | None
) -> NDArray[np.float32]:
    """The best threshold of each column [k], of scores and truth [n, k]."""
    thresholds, f1 = _midpoints(scores, true) if grid is None else _on_grid(scores, true, grid)
    distance = np.where(f1 == f1.max(axis=0), np.abs(thresholds - np.float32(0.5)), np.float32(np.inf))
    # Thresholds descend, and argmin takes the first; in reversed order, this is the lower of two equally near.
    best = len(distance) - 1 - distance[::-1].argmin(axis=0)
    return np.asarray(thresholds[best, np.arange(scores.shape[1])], dtype=np.float32)


def _midpoints(
    scores: NDArray[np.float32], true: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Thresholds [n, k], descending, between the i-th highest score and the next, and the F1 of each."""
    order = np.argsort(-scores, axis=0)
    high = np.take_along_axis(scores, order, axis=0)
    low = np.concatenate([high[1:], np.zeros_like(high[:1])])
    middle = (high + low) / 2
    # There is no number between two neighbouring floats, and the mean may round to the lower.
    middle = np.where(middle <= low, high, middle)
    agreed = np.take_along_axis(true, order, axis=0).cumsum(axis=0)
    n_predicted = np.arange(1, len(scores) + 1)[:, None]
    f1 = 2 * agreed / (n_predicted + true.sum(axis=0))
    # No threshold separates equal scores; one below the lowest score is always possible.
    f1[:-1][high[:-1] == high[1:]] = -1.0
    return middle, f1


def _on_grid(
    scores: NDArray[np.float32], true: NDArray[np.bool_], grid: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The thresholds of the grid [g, k], descending, and the F1 of each."""
    levels = np.sort(np.asarray(grid, dtype=np.float32))[::-1]
    thresholds = np.repeat(levels[:, None], scores.shape[1], axis=1)
    f1 = np.empty(thresholds.shape)
    for row, level in enumerate(levels):
        predicted = scores >= level
        counted = predicted.sum(axis=0) + true.sum(axis=0)
        f1[row] = 2 * (predicted & true).sum(axis=0) / np.maximum(counted, 1)
    return thresholds, f1
