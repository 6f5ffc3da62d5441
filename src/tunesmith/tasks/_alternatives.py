"""Answers besides the best one: what a prediction holds of them, and the best k."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.tasks._capabilities import OFFSETS
from tunesmith.tasks._types import LabelSchema, Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Alternatives:
    """Answers hold others besides the best one, which are given only when they are asked for.

    Args:
        key: the entry of a prediction that holds them.
        best: the best k of that entry.
    """

    key: str
    best: Callable[[Any, LabelSchema, int], list[Prediction]]


def best_label_scores(scores: NDArray[np.floating], label_schema: LabelSchema, k: int) -> list[Prediction]:
    """The k best labels, from the probabilities [labels] in the label schema's order: the answer comes first."""
    labels = label_schema["labels"]
    ranks = scores
    if (offsets := label_schema.get(OFFSETS)) is not None:
        ranks = scores * np.exp(np.asarray(offsets, dtype=np.float64))
    best = ranks.argsort()[::-1][:k]
    chosen = zip(best.tolist(), scores[best].tolist(), strict=True)
    return [{"label": labels[i], "score": score} for i, score in chosen]


def first_of_list(answers: Sequence[Prediction], label_schema: LabelSchema, k: int) -> list[Prediction]:
    """The first k answers of a list that is sorted already."""
    return list(answers[:k])


LABEL_SCORES = Alternatives("scores", best_label_scores)
"""`scores` holds the probability of every label."""

TOP_ANSWERS = Alternatives("top", first_of_list)
"""`top` holds the best answers, the best first."""
