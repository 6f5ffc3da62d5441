"""True labels of scored rows that are probably wrong: the model is sure of another, and so are the neighbours.

Two witnesses must agree. The model's probability of another label is at least the mean that it gives to the
rows of that label (the threshold of confident learning, Northcutt et al. 2021), and the true label's is below a
tenth. Of the ten nearest training rows, at least eight have the other label and at most one the true one.
Without training vectors nothing is suspected: a model alone is also sure of its own errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.evaluation.candidate_slices import labels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tunesmith.evaluation.neighbours import TrainingVectors
    from tunesmith.evaluation.scoring import Scored

NEIGHBOURS = 10
_AGREE, _OPPOSE = 0.8, 0.1
_UNLIKELY = 0.1


@dataclass(frozen=True)
class Suspected:
    """A row whose true label is probably wrong.

    Args:
        row: its number.
        label: the label in question: one that the row lacks, or has wrongly.
        proposed: the labels that the row would have.
        confidence: the model's probability of the proposal.
        agreeing: how many of the nearest training rows agree with the proposal.
    """

    row: int
    label: str
    proposed: list[str]
    confidence: float
    agreeing: int


def find_suspected(
    scored: Scored, vectors: NDArray[np.float32], training: TrainingVectors
) -> list[Suspected]:
    """The suspected rows, the most certain first; none where answers have no probability of every label.

    Args:
        scored: rows with their answers.
        vectors: [rows, d], what the head reads of them.
        training: training rows.
    """
    labels, key = scored.label_schema.get("labels", ()), getattr(scored.task.alternatives, "key", "")
    if not labels or not scored.predictions or len(scored.predictions[0].get(key, ())) != len(labels):
        return []
    probabilities = np.stack([np.asarray(prediction[key]) for prediction in scored.predictions])
    gold = _indicator(scored.gold, labels)
    numbers, _ = training.nearest(vectors, NEIGHBOURS)
    beside = _indicator(training.gold, labels)[numbers].sum(axis=1)
    judge = _one_label if isinstance(scored.gold[0], str) else _several_labels
    found = judge(labels, probabilities, gold, beside, numbers.shape[1])
    return sorted(found, key=lambda each: (-each.confidence, each.row))


def _indicator(gold: Sequence[Any], labels: Sequence[str]) -> NDArray[np.bool_]:
    """[rows, k], which labels each row has."""
    number = {label: i for i, label in enumerate(labels)}
    found = np.zeros((len(gold), len(labels)), dtype=bool)
    for row, value in enumerate(gold):
        found[row, [number[label] for label in labels_of(value) if label in number]] = True
    return found


def _thresholds(probabilities: NDArray[Any], gold: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[k], the mean probability of each label in the rows that have it; 1 where none has."""
    n = gold.sum(axis=0)
    return np.where(n > 0, (probabilities * gold).sum(axis=0) / np.maximum(n, 1), 1.0)


def _one_label(
    labels: Sequence[str],
    probabilities: NDArray[Any],
    gold: NDArray[np.bool_],
    beside: NDArray[np.int64],
    k: int,
) -> list[Suspected]:
    """Rows with one label each."""
    rows = np.arange(len(gold))
    answer, true = probabilities.argmax(axis=1), gold.argmax(axis=1)
    sure = probabilities[rows, answer] >= _thresholds(probabilities, gold)[answer]
    sure &= (answer != true) & (probabilities[rows, true] < _UNLIKELY)
    sure &= (beside[rows, answer] >= _AGREE * k) & (beside[rows, true] <= _OPPOSE * k)
    return [
        Suspected(
            row,
            labels[answer[row]],
            [labels[answer[row]]],
            float(probabilities[row, answer[row]]),
            int(beside[row, answer[row]]),
        )
        for row in np.flatnonzero(sure).tolist()
    ]


def _several_labels(
    labels: Sequence[str],
    probabilities: NDArray[Any],
    gold: NDArray[np.bool_],
    beside: NDArray[np.int64],
    k: int,
) -> list[Suspected]:
    """Rows with any number of labels: each label alone, as one that is missing or too much."""
    missing = ~gold & (probabilities >= _thresholds(probabilities, gold)) & (beside >= _AGREE * k)
    wrong = gold & (probabilities < _UNLIKELY) & (1 - probabilities >= _thresholds(1 - probabilities, ~gold))
    wrong &= beside <= _OPPOSE * k
    found = []
    for row, j in np.argwhere(missing | wrong).tolist():
        proposed = [label for i, label in enumerate(labels) if gold[row, i] != (i == j)]
        has = bool(missing[row, j])
        confidence = float(probabilities[row, j] if has else 1 - probabilities[row, j])
        found.append(
            Suspected(
                row, labels[j], proposed, confidence, int(beside[row, j] if has else k - beside[row, j])
            )
        )
    return found
