"""Accuracy and F1 of one label per text.

Definitions as in scikit-learn's `accuracy_score` and `f1_score(average="macro" | "weighted")`: a class that is
neither among the true labels nor predicted is left out of the macro average.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import SHARE, Metric, Scores, Share, Shares, Statistics, selected

if TYPE_CHECKING:
    from numpy.typing import NDArray

metrics = (
    Metric("accuracy", "maximize", SHARE, "accuracy", "the share of answers that are right"),
    Metric(
        "f1_macro",
        "maximize",
        SHARE,
        "F1, macro average",
        "the mean of the F1 of every label: a rare label counts as much as a frequent one",
        "f1",
    ),
    Metric(
        "f1_weighted",
        "maximize",
        SHARE,
        "F1, weighted average",
        "the mean of the F1 of every label, weighted by its number of rows",
        "f1",
    ),
)


def statistics(labels: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int) -> Statistics:
    """Per example: the true class, the predicted class, and the class if both agree.

    Args:
        labels: [examples], true class ids.
        predicted: [examples], predicted class ids.
        n_classes: number of classes, k.

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


def shares(n_classes: int, width: int = 0) -> Shares:
    """Accuracy, macro and weighted F1 as shares, for statistics that begin with 3k columns."""
    width = width or 3 * n_classes
    true, _, agreed = _columns(n_classes)
    f1 = f1_by_class(n_classes, width)
    return {
        "accuracy": Share(of=selected(width, true), right=selected(width, agreed)),
        "f1_macro": f1,
        "f1_weighted": replace(f1, by=selected(width, *true[:, None])),
    }


def f1_by_class(n_classes: int, width: int = 0) -> Share:
    """The mean of the F1 of k classes, for statistics that begin with 3k columns of true, predicted and agreed.

    F1 is the number of agreed, divided by the mean number of true and predicted.
    """
    width = width or 3 * n_classes
    true, predicted, agreed = _columns(n_classes)
    of = selected(width, *np.stack([true, predicted], axis=1), weight=0.5)
    return Share(of=of, right=selected(width, *agreed[:, None]))


def micro_shares(n_classes: int, width: int = 0) -> tuple[Share, Share, Share]:
    """F1, precision and recall over all of k classes, for the same statistics."""
    width = width or 3 * n_classes
    true, predicted, agreed = _columns(n_classes)
    right = selected(width, agreed)
    f1 = Share(of=selected(width, [*true, *predicted], weight=0.5), right=right)
    return f1, Share(of=selected(width, predicted), right=right), Share(of=selected(width, true), right=right)


def _columns(n_classes: int) -> list[NDArray[np.int64]]:
    """The columns of true, of predicted and of agreed classes."""
    return np.split(np.arange(3 * n_classes, dtype=np.int64), 3)


def per_class_f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 of each class [..., k] from sums [..., 3k]; 0 for a class that never occurs."""
    true, predicted, agreed = np.split(sums, 3, axis=-1)
    return 2 * agreed / np.maximum(true + predicted, 1.0)


def label_table(sums: NDArray[np.float64]) -> dict[str, list[float | None]]:
    """The values of `per_class` as lists, with None for what does not exist.

    A label without rows has neither recall nor F1, and one that was never given has no precision.
    """
    true, predicted, _ = np.split(sums, 3, axis=-1)
    exists = {"precision": predicted > 0, "recall": true > 0, "f1": true > 0}
    return {
        name: [
            float(value) if there else None
            for value, there in zip(values, exists.get(name, np.ones(len(values))), strict=True)
        ]
        for name, values in per_class(sums).items()
    }


def per_class(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Precision, recall, F1 and support of each class [k] from sums [3k]."""
    true, predicted, agreed = np.split(sums, 3, axis=-1)
    return {
        "precision": agreed / np.maximum(predicted, 1.0),
        "recall": agreed / np.maximum(true, 1.0),
        "f1": per_class_f1(sums),
        "support": true,
    }
