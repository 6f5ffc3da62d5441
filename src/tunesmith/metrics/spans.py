"""Precision, recall and F1 of entities: strict, as in CoNLL-2003 (Tjong Kim Sang and De Meulder, 2003).

An entity counts as found only if start, end and label all agree; an entity that is given twice counts once. The
scores equal nervaluate's strict scheme if predicted entities do not overlap. If they overlap, nervaluate lets a
wrong prediction use up the gold entity of a later right one, so its score depends on their order; this one does
not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from tunesmith.metrics import SHARE, Metric, Scores, Shares, Statistics
from tunesmith.metrics.classification import f1_by_class, label_table, micro_shares, per_class_f1

if TYPE_CHECKING:
    from numpy.typing import NDArray

metrics = (
    Metric("f1", "maximize", SHARE, "F1", "precision and recall in one number: high only if both are"),
    Metric("precision", "maximize", SHARE, "precision", "the share of what was found that is right"),
    Metric("recall", "maximize", SHARE, "recall", "the share of what is there that was found"),
    Metric(
        "f1_macro",
        "maximize",
        SHARE,
        "F1, macro average",
        "the mean of the F1 of every label: a rare label counts as much as a frequent one",
        "f1",
    ),
)

Entity = tuple[int, int, str]
"""Start, end and label."""


Kind = Literal["boundary", "type", "missed", "spurious"]

ERROR_KINDS: dict[Kind, str] = {
    "boundary": "the right label, but another start or end",
    "type": "another label at the same words, or at some of them",
    "missed": "in the data, and nothing was found there",
    "spurious": "found, and nothing is there in the data",
}
"""What can be wrong with an entity, and what that means."""


def error_kinds(
    gold: Iterable[Entity], predicted: Iterable[Entity]
) -> tuple[dict[Entity, Kind], dict[Entity, Kind]]:
    """The kind of error of each gold entity that was not found, and of each predicted one that is wrong.

    A wrong prediction is paired with the gold entity that it shares most characters with, one with one; at a tie
    with that of its own label. What is left without a partner is missed or spurious.

    Args:
        gold: true entities of one example.
        predicted: predicted entities of the example.
    """
    true, guessed = _distinct(gold), _distinct(predicted)
    wrong, lost = sorted(guessed - true), sorted(true - guessed)
    shared = [(min(g[1], p[1]) - max(g[0], p[0]), g[2] == p[2], g, p) for g in lost for p in wrong]
    of_gold: dict[Entity, Kind] = {}
    of_predicted: dict[Entity, Kind] = {}
    for _, same, one, other in sorted((s for s in shared if s[0] > 0), key=lambda s: (-s[0], not s[1])):
        if one not in of_gold and other not in of_predicted:
            of_gold[one] = of_predicted[other] = "boundary" if same else "type"
    return (
        {entity: of_gold.get(entity, "missed") for entity in lost},
        {entity: of_predicted.get(entity, "spurious") for entity in wrong},
    )


def count_errors(gold: Sequence[Sequence[Entity]], predicted: Sequence[Sequence[Entity]]) -> dict[Kind, int]:
    """How many errors of each kind there are over all examples; a pair is one error."""
    counts: Counter[Kind] = Counter()
    for true, guessed in zip(gold, predicted, strict=True):
        of_gold, of_predicted = error_kinds(true, guessed)
        counts.update(of_predicted.values())
        counts["missed"] += sum(kind == "missed" for kind in of_gold.values())
    return {kind: counts[kind] for kind in ERROR_KINDS}


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


def _distinct(entities: Iterable[Entity]) -> set[Entity]:
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


def per_label(sums: NDArray[np.float64]) -> dict[str, list[float | None]]:
    """Precision, recall, F1 and support of each label [k] from sums [3k]; None if there is nothing to count."""
    return label_table(sums)
