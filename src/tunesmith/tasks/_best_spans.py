"""The best passages of a row: from the logits of its windows to the spans that can be answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.tasks import EvalPredictions, LabelSchema, Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CANDIDATES = 20
_ALTERNATIVES = 5


@dataclass(frozen=True)
class BestSpans:
    """The result of all windows of one row.

    Args:
        text: the best passage.
        score: its score, the sum of two logits.
        null: the score of no answer.
        null_share: the probability of no answer.
        top: the best passages that do not overlap, with their probabilities.
        scores: of all candidates, the best first, and of no answer, last.
    """

    text: str
    score: float
    null: float
    null_share: float
    top: list[Prediction]
    scores: NDArray[np.float64]

    def is_silent(self, label_schema: LabelSchema) -> bool:
        """Whether the answer is that there is none."""
        if not label_schema["has_unanswerable"]:
            return False
        return self.null - self.score > float(label_schema.get("threshold", 0.0))


def best_spans(evaluated: EvalPredictions, label_schema: LabelSchema) -> list[BestSpans]:
    """The best passages of each row; computed once for the predictions."""
    if "spans" not in evaluated.memo:
        of_row: list[list[int]] = [[] for _ in range(evaluated.encoded.n_rows)]
        for sequence, row in enumerate(evaluated.encoded.rows):
            of_row[row].append(sequence)
        evaluated.memo["spans"] = [
            _best_of_row(evaluated, sequences, evaluated.columns["context"][row], label_schema)
            for row, sequences in enumerate(of_row)
        ]
    return list(evaluated.memo["spans"])


def _best_of_row(
    evaluated: EvalPredictions, sequences: Sequence[int], context: str, label_schema: LabelSchema
) -> BestSpans:
    found: list[tuple[float, int, int]] = []
    null = np.inf
    for sequence in sequences:
        logits = evaluated.outputs[sequence]
        null = min(null, float(logits[0].sum()))
        starts, ends = (
            evaluated.encoded.ragged[name][sequence] for name in ("start_of_token", "end_of_token")
        )
        found += _candidates(logits, starts, ends, label_schema["longest_answer"])
    found.sort(key=lambda span: (-span[0], span[1], span[2]))
    scores = np.array([*(score for score, _, _ in found), null])
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    top: list[Prediction] = []
    for share, (_, start, end) in zip(shares, found, strict=False):
        if all(end <= other["start"] or start >= other["end"] for other in top):
            top.append({"answer": context[start:end], "score": float(share), "start": start, "end": end})
        if len(top) == _ALTERNATIVES:
            break
    if not top:  # the tokenizer has no tokens for the context
        nothing: Prediction = {"answer": "", "score": 1.0, "start": 0, "end": 0}
        return BestSpans("", -np.inf, float(null), 1.0, [nothing], scores)
    return BestSpans(top[0]["answer"], found[0][0], float(null), float(shares[-1]), top, scores)


def _candidates(
    logits: NDArray[np.float32], starts: NDArray[np.int32], ends: NDArray[np.int32], longest: int
) -> list[tuple[float, int, int]]:
    """(score, first character, character after the last) of each of the best spans of a window."""
    inside = np.flatnonzero(starts > 0)
    if not len(inside):
        return []
    firsts = inside[np.argsort(-logits[inside, 0], kind="stable")[:_CANDIDATES]]
    lasts = inside[np.argsort(-logits[inside, 1], kind="stable")[:_CANDIDATES]]
    i, j = (grid.ravel() for grid in np.meshgrid(firsts, lasts, indexing="ij"))
    fits = (j >= i) & (ends[j] - starts[i] <= longest)
    if not fits.any():  # then the best first token alone
        i, j = firsts[:1], firsts[:1]
    else:
        i, j = i[fits], j[fits]
    scores = logits[i, 0] + logits[j, 1]
    best = np.argsort(-scores, kind="stable")[:_CANDIDATES]
    return [(float(scores[k]), int(starts[i[k]] - 1), int(ends[j[k]] - 1)) for k in best]
