"""Accuracy and F1 of one label a text.

Definitions as in scikit-learn's `accuracy_score` and `f1_score(average="macro" | "weighted")`: a class that
is neither among the true labels nor predicted does not count in the macro average.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import Scores, Statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray


def statistics(labels: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int) -> Statistics:
    """Per example: its true class, its predicted class, and the class where both agree.

    Args:
        labels: [examples], true class ids.
        predicted: [examples], predicted class ids.
        n_classes: k.

    Returns:
        Sparse [examples, 3k]: one-hot of true, of predicted, of agreed classes.
    """
    from scipy import sparse

    n = len(labels)
    rows, ones = np.arange(n), np.ones(n)
    agreed = labels == predicted
    row_index = np.concatenate([rows, rows, rows[agreed]])
    columns = np.concatenate([labels, predicted + n_classes, labels[agreed] + 2 * n_classes])
    values = np.concatenate([ones, ones, ones[agreed]])
    return sparse.csr_matrix((values, (row_index, columns)), shape=(n, 3 * n_classes))


def formula(sums: NDArray[np.float64]) -> Scores:
    """Accuracy, macro and weighted F1 from sums [..., 3k]."""
    true, predicted, agreed = np.split(sums, 3, axis=-1)
    f1 = per_class_f1(sums)
    present = (true + predicted) > 0
    n = true.sum(-1)
    return {
        "accuracy": agreed.sum(-1) / n,
        "f1_macro": np.where(present, f1, 0.0).sum(-1) / present.sum(-1),
        "f1_weighted": (f1 * true).sum(-1) / n,
    }


def per_class_f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 of each class [..., k] from sums [..., 3k]; 0 where a class never occurs."""
    true, predicted, agreed = np.split(sums, 3, axis=-1)
    return 2 * agreed / np.maximum(true + predicted, 1.0)


def per_class(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Precision, recall, F1 and support of each class [k] from sums [3k]."""
    true, predicted, agreed = np.split(sums, 3, axis=-1)
    return {
        "precision": agreed / np.maximum(predicted, 1.0),
        "recall": agreed / np.maximum(true, 1.0),
        "f1": per_class_f1(sums),
        "support": true,
    }
