"""Precision, recall and F1 of entities: strict, as in CoNLL-2003 (Tjong Kim Sang and De Meulder, 2003).

An entity counts as found only if start, end and label all agree; an entity that is given twice counts once. The
scores equal nervaluate's strict scheme if predicted entities do not overlap. If they overlap, nervaluate lets a
wrong prediction use up the gold entity of a later right one, so its score depends on their order; this one does
not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import SHARE, Metric, Scores, Shares, Statistics
from tunesmith.metrics.classification import f1_by_class, micro_shares, per_class, per_class_f1

if TYPE_CHECKING:
    from numpy.typing import NDArray

metrics = (
    Metric("f1", "maximize", SHARE, "F1"),
    Metric("precision", "maximize", SHARE, "precision"),
    Metric("recall", "maximize", SHARE, "recall"),
    Metric("f1_macro", "maximize", SHARE, "F1, macro average"),
)

Entity = tuple[int, int, str]
"""Start, end and label."""


def statistics(
    gold: Sequence[Sequence[Entity]], predicted: Sequence[Sequence[Entity]], labels: Sequence[str]
) -> Statistics:
    """Per example and label: the number of entities that are gold, predicted, and both.

    Args:
        gold: true entities of each example.
        predicted: predicted entities of each example.
        labels: names of the k labels; an entity with another label raises a KeyError.

    Returns:
        Sparse [examples, 3k]: gold, predicted, agreed counts, each by label.
    """
    from scipy import sparse

    index = {label: i for i, label in enumerate(labels)}
    places: list[tuple[int, int]] = []  # (row, column) of every 1 to be added
    for row, (true, guessed) in enumerate(zip(gold, predicted, strict=True)):
        true_set, guessed_set = _distinct(true), _distinct(guessed)
        for part, found in enumerate((true_set, guessed_set, true_set & guessed_set)):
            places += [(row, part * len(index) + index[label]) for _, _, label in found]
    rows, columns = np.array(places, dtype=np.int64).reshape(-1, 2).T
    # csr_matrix adds up the values of one place.
    return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(gold), 3 * len(index)))


def _distinct(entities: Sequence[Entity]) -> set[Entity]:
    # An entity from JSON is a list, which cannot be in a set.
    return {(start, end, label) for start, end, label in entities}


def formula(sums: NDArray[np.float64]) -> Scores:
    """Micro F1, precision and recall, and macro F1, from sums [..., 3k].

    The macro F1 is the mean over the labels that occur among the gold or the predicted entities. A score without
    entities is 0.0.
    """
    gold, predicted, agreed = np.split(sums, 3, axis=-1)
    n_gold, n_predicted, n_agreed = gold.sum(-1), predicted.sum(-1), agreed.sum(-1)
    n_present = ((gold + predicted) > 0).sum(-1)
    return {
        "f1": 2 * n_agreed / np.maximum(n_gold + n_predicted, 1.0),
        "precision": n_agreed / np.maximum(n_predicted, 1.0),
        "recall": n_agreed / np.maximum(n_gold, 1.0),
        "f1_macro": per_class_f1(sums).sum(-1) / np.maximum(n_present, 1.0),
    }


def shares(n_labels: int) -> Shares:
    """All metrics as shares, for statistics of 3k columns."""
    f1, precision, recall = micro_shares(n_labels)
    return {"f1": f1, "precision": precision, "recall": recall, "f1_macro": f1_by_class(n_labels)}


def per_label(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Precision, recall, F1 and support of each label [k] from sums [3k]; 0.0 if there is nothing to count."""
    return per_class(sums)
