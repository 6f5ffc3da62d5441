"""The wrong answers: the worst with the training rows nearest to them, suspected labels, and what would help most.

Texts in metrics.json are cut; `predictions/SPLIT.jsonl` has those of the scored rows whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.evaluation.analyses import Analysis, Answered
from tunesmith.evaluation.fixes import Wrong, count_fixes, training_counts
from tunesmith.evaluation.suspected_labels import NEIGHBOURS, Suspected, find_suspected
from tunesmith.tasks import best_answer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.evaluation.neighbours import TrainingVectors
    from tunesmith.evaluation.scoring import Scored
    from tunesmith.types import JsonObject

_WORST, _NEAREST = 20, 3
_MOST_SUSPECTED = 50
_MOST_CHARACTERS = 240


def _find(answered: Answered) -> JsonObject | None:
    """The entry of metrics.json; None where answers are neither right nor wrong.

    `wrong` of `of` rows are wrong; `worst` has the worst with their `nearest` training rows, where these are
    known; `suspected` has the true labels that are probably wrong, and is null where the training rows are not
    at hand; `fixes` has what would take how many errors away at most.
    """
    scored = answered.final
    judged = scored.correct
    if not any(right is not None for right in judged) or len(judged) != len(scored.examples):
        return None
    is_wrong = np.array([right is False for right in judged])
    vectors, training = answered.features("final"), answered.training()
    suspected = None if vectors is None or training is None else find_suspected(scored, vectors, training)
    is_suspected = np.zeros(len(judged), dtype=bool)
    is_suspected[[each.row for each in suspected or ()]] = True
    train = training_counts(answered.metrics.get("details"))
    return {
        "wrong": int(is_wrong.sum()),
        "of": len(judged),
        "worst": _worst(scored, is_wrong, vectors, training),
        "suspected": None if suspected is None else _describe_suspected(scored, suspected, is_suspected),
        "fixes": count_fixes(Wrong(scored, is_wrong, is_suspected), _weak(answered), train),
    }


def _weak(answered: Answered) -> list[JsonObject]:
    """What the analysis of weak slices found."""
    found = answered.metrics.get("weak_slices")
    return list(found["found"]) if isinstance(found, dict) else []


def _worst(
    scored: Scored,
    is_wrong: NDArray[np.bool_],
    vectors: NDArray[np.float32] | None,
    training: TrainingVectors | None,
) -> list[JsonObject]:
    """The worst errors in the order of the report, with the training rows nearest to them, where known."""
    task, wrong = scored.task, np.flatnonzero(is_wrong).tolist()
    wrong.sort(key=lambda row: -task.error_of(best_answer(task, scored.predictions[row]), scored.gold[row]))
    chosen = wrong[:_WORST]
    if vectors is None or training is None or not chosen:
        return []
    return [
        {"row": scored.examples.row_id(row), "nearest": near}
        for row, near in zip(chosen, _nearest(vectors[chosen], training), strict=True)
    ]


def _nearest(vectors: NDArray[np.float32], training: TrainingVectors) -> list[list[JsonObject]]:
    numbers, cosines = training.nearest(vectors, _NEAREST)
    return [
        [_neighbour(training, number, cosine) for number, cosine in zip(of_row, near, strict=True)]
        for of_row, near in zip(numbers.tolist(), cosines.tolist(), strict=True)
    ]


def _neighbour(training: TrainingVectors, number: int, cosine: float) -> JsonObject:
    text = {"text": cut(training.texts[number])} if training.texts else {}
    return {"row": training.rows[number], "gold": training.gold[number], "cosine": round(cosine, 4), **text}


def cut(text: str) -> str:
    """The beginning of a text."""
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]} …"


def _describe_suspected(
    scored: Scored, suspected: list[Suspected], is_suspected: NDArray[np.bool_]
) -> JsonObject:
    return {
        "n": int(is_suspected.sum()),
        "neighbours": NEIGHBOURS,
        "rows": [_suspected_row(scored, each) for each in suspected[:_MOST_SUSPECTED]],
    }


def _suspected_row(scored: Scored, each: Suspected) -> JsonObject:
    columns = scored.examples.columns
    texts = [str(columns[name][each.row]) for name in scored.task.shown if name in columns]
    return {
        "row": scored.examples.row_id(each.row),
        "text": cut("\n".join(texts)),
        "gold": scored.gold[each.row],
        "proposed": each.proposed if isinstance(scored.gold[each.row], list) else each.proposed[0],
        "confidence": each.confidence,
        "agreeing": each.agreeing,
    }


analysis = Analysis(
    "the worst errors, suspected labels, and what would help most", _find, after=("weak_slices",)
)
