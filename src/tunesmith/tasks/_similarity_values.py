"""What rows say of how similar two texts are: a number, a label of yes or no, or a relation of inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.errors import DataError
from tunesmith.tasks import RowError
from tunesmith.tasks._values import number_of

if TYPE_CHECKING:
    from tunesmith.tasks import LabelSchema
    from tunesmith.types import Array

SCORES, LABELS, PAIRS = "scores", "labels", "pairs"
"""Kinds of training rows: numbers, zeros and ones, or texts of one meaning alone."""

_SIMILAR = (
    "similar", "same", "duplicate", "paraphrase", "equivalent", "match", "relevant", "related", "entailment",
    "entails", "yes", "true",
)  # fmt: skip
_DIFFERENT = (
    "different", "dissimilar", "not_similar", "not_duplicate", "not_paraphrase", "not_equivalent", "no_match",
    "mismatch", "irrelevant", "not_relevant", "unrelated", "contradiction", "contradicts", "no", "false",
)  # fmt: skip
GRADES = {**dict.fromkeys(_SIMILAR, 1.0), **dict.fromkeys(_DIFFERENT, 0.0), "neutral": 0.5}
"""What names stand for. Of inference, `entailment` is 1, `neutral` 0.5 and `contradiction` 0."""


def grade_of(value: Any) -> float:
    """The number that a score or a label stands for.

    Raises:
        RowError: it is missing, or neither a number nor a name that is known.
    """
    if isinstance(value, bool):
        return float(value)
    name = value.strip().casefold().replace(" ", "_").replace("-", "_") if isinstance(value, str) else ""
    if name in GRADES:
        return GRADES[name]
    try:
        return number_of(value, "score")
    except RowError as error:
        hint = f"A label must be one of: {', '.join(GRADES)}. Or write 1 for similar and 0 for different."
        raise RowError(str(error), hint=error.hint or hint) from None


def schema_of(scores: Sequence[float]) -> LabelSchema:
    """The label schema of training rows with scores.

    Raises:
        DataError: all rows have the same score.
    """
    values = np.array(scores, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise DataError(
            f"there is nothing to learn: all {len(values)} training rows have the score {low:g}.",
            remedy="Name the right column (`--column score=COLUMN`), or leave the scores out: pairs alone are "
            "learned as texts of one meaning.",
        )
    kind = LABELS if set(np.unique(values)) <= {0.0, 1.0} else SCORES
    return {"kind": kind, "low": low, "high": high}


def scaled(scores: Array, label_schema: LabelSchema) -> Array:
    """Scores within [0, 1], or within [-1, 1] where training rows have negative ones."""
    low, high = label_schema["low"], label_schema["high"]
    if low < 0:
        return np.asarray(np.asarray(scores) / max(-low, high))
    return np.asarray((np.asarray(scores) - low) / (high - low))
