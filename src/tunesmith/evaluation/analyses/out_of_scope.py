"""Out of scope: how many of the rows are unlike anything in training, and how the model does on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.evaluation.abstaining import judged_answers
from tunesmith.evaluation.analyses import Analysis, Answered
from tunesmith.inference.scope import EXPECTED
from tunesmith.inference.trust import Trust

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import JsonObject

_SHOWN_ROWS = 5
_SHOWN_CHARACTERS = 200


def _find(answered: Answered) -> JsonObject | None:
    """See `Analysis`: rows beyond the threshold, the furthest ones, and their errors."""
    scope, features = Trust.of_model(answered.run.model).scope, answered.features("final")
    if scope is None or features is None:
        return None
    scores = scope.scores(features)
    is_out = scores > 1
    return {
        "expected": EXPECTED,
        "rows": len(scores),
        "out": int(is_out.sum()),
        "share": float(is_out.mean()),
        "median": float(np.median(scores)),
        **_errors(answered, is_out),
        "furthest": _furthest(answered, scores),
    }


def _errors(answered: Answered, is_out: NDArray[np.bool_]) -> JsonObject:
    """The share of wrong answers among the rows in scope, and out of it."""
    how = answered.final.task.confidence
    if how is None or how.key:
        return {}
    wrong = ~judged_answers(answered.final).is_right
    found: JsonObject = {"error_in": float(wrong[~is_out].mean())} if (~is_out).any() else {}
    return {**found, "error_out": float(wrong[is_out].mean())} if is_out.any() else found


def _furthest(answered: Answered, scores: NDArray[np.float64]) -> list[JsonObject]:
    final = answered.final
    texts = final.examples.columns[final.task.shown[0]]
    return [
        {
            "row": final.examples.row_id(row),
            "text": str(texts[row])[:_SHOWN_CHARACTERS],
            "score": float(scores[row]),
        }
        for row in np.argsort(-scores, kind="stable")[:_SHOWN_ROWS].tolist()
        if scores[row] > 1
    ]


analysis = Analysis("texts that are unlike the training texts", _find)
