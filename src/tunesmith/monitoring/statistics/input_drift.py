"""Whether the texts are like those of the reference: the MMD of their vectors, with a permutation test.

Vectors are what the head of the model reads. A task whose model has no vector for a text has those of the words
(`monitoring/texts.py`), which see less. Both together see less than the model's alone, so they are not added.
Where it alarms, a classifier that tells the window from the reference says what is new: its AUC, the rows that
are least like the reference, and the words that became more or less frequent since the training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.checks._two_samples import tell_apart
from tunesmith.monitoring.permutation import of_vectors, standardised
from tunesmith.monitoring.statistics import Compared, Measured, NotMeasurable, Statistic, require_rows
from tunesmith.monitoring.texts import telling_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.monitoring.observed import Observed
    from tunesmith.types import JsonObject

_SHOWN_ROWS, _SHOWN_WORDS = 10, 8
_WORD_Z = 4.0
"""Standard errors from which a word is named."""
_MOST_CHARACTERS = 300


def _measure(compared: Compared) -> Measured:
    reference, window = _vectors(compared)
    both = np.concatenate([reference, window])
    is_of_model = compared.window.vectors is not None and compared.reference.rows.vectors is not None
    features = of_vectors(standardised(both) if is_of_model else both, compared.seed)
    distance = compared.test(features, len(reference))
    return Measured(
        distance.ratio,
        f"the texts are {distance.ratio:.1f} times as far from the reference as chance puts them",
        reference=1.0,
        p=distance.p,
    )


def _vectors(compared: Compared) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors of the reference and of the window."""
    reference, window = compared.reference.rows, compared.window
    require_rows(len(reference), len(window))
    for one, other in ((reference.vectors, window.vectors), (reference.words, window.words)):
        if one is not None and other is not None:
            return one, other
    raise NotMeasurable("the texts are not at hand")


def _explain(compared: Compared) -> JsonObject:
    """How well a classifier tells the window from the reference, its rows that are least like it, and words."""
    one, other = _vectors(compared)
    found = tell_apart(one, other, seed=compared.seed, permutations=0)
    unlike = np.argsort(-found.scores[len(one) :], kind="stable")[:_SHOWN_ROWS]
    return {
        "auc": found.auc,
        "rows": [shown_row(compared.window, int(row)) for row in unlike],
        **_telling_words(compared),
    }


def shown_row(rows: Observed, row: int) -> JsonObject:
    """A row as an example: where it is, and the begin of its text.

    Args:
        rows: rows with texts, or without.
        row: number of the row.
    """
    text = rows.texts[row] if rows.texts else ""
    short = text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
    return {"row": rows.names[row] if rows.names else str(row), "text": short}


def _telling_words(compared: Compared) -> JsonObject:
    """The words whose share of texts differs most from the training texts."""
    found = telling_words(compared.window.texts, compared.reference.vocabulary, least=_WORD_Z)
    risen = [_told(it) for it in found if it[1] > it[2]]
    fallen = [_told(it) for it in reversed(found) if it[1] < it[2]]
    return {"more_frequent": risen[:_SHOWN_WORDS], "less_frequent": fallen[:_SHOWN_WORDS]}


def _told(found: tuple[str, float, float]) -> JsonObject:
    return dict(zip(("word", "window", "training"), found, strict=True))


statistic = Statistic(
    "texts that are unlike those of the reference", "Input drift", "number", _measure, _explain
)
