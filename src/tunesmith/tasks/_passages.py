"""Passages of a text and the tokens that stand for them: where answers begin and end, and what is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.encoded import Lost
from tunesmith.metrics import squad

NO_TOKEN_BORDER = "answers (a border within a token)"

_WHITE_SPACE = np.array([code for code in range(0x3001) if chr(code).isspace()], dtype=np.uint32)


def places(encoded: Any, sequence: int, context: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """[tokens] each: characters of the context that a token covers, from 1; 0 outside the context.

    White space at a token's edges is none of it: byte-level tokenizers have the blank before a word in its token.
    """
    ids = encoded.sequence_ids(sequence)
    offsets = np.array(encoded["offset_mapping"][sequence], dtype=np.int32).reshape(-1, 2)
    starts, ends = _trimmed(offsets[:, 0], offsets[:, 1], context)
    inside = np.array([i == 1 for i in ids]) & (ends > starts)
    return np.where(inside, starts + 1, 0), np.where(inside, ends + 1, 0)


def _trimmed(
    starts: NDArray[np.int32], ends: NDArray[np.int32], context: str
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Without the white space at the edges; all white space becomes nothing."""
    blank = np.isin(np.frombuffer(context.encode("utf-32-le"), dtype=np.uint32), _WHITE_SPACE)
    letters = np.flatnonzero(~blank)
    first = np.append(letters, len(context))[np.searchsorted(letters, starts)]
    last = np.append(0, letters + 1)[np.searchsorted(letters + 1, ends, side="right")]
    return first.astype(np.int32), last.astype(np.int32)


@dataclass(frozen=True)
class Label:
    """What a window is taught: first and last token of an answer, (0, 0) for none.

    Args:
        tokens: first and last.
        is_exact: whether these tokens are the answer, as the metric compares them.
    """

    tokens: tuple[int, int] = (0, 0)
    is_exact: bool = False


def label_of(
    answers: Sequence[Mapping[str, Any]], context: str, starts: NDArray[np.int32], ends: NDArray[np.int32]
) -> Label:
    """The first answer that lies in the window, of those that tokens can express if there are any."""
    found = Label()
    for answer in answers:
        tokens = _tokens_of(answer, starts, ends)
        if tokens is None:
            continue
        text = context[starts[tokens[0]] - 1 : ends[tokens[1]] - 1]
        label = Label(tokens, text == answer["text"] or bool(squad.exact_match(text, [answer["text"]])))
        if label.is_exact:
            return label
        found = found if any(found.tokens) else label
    return found


def _tokens_of(
    answer: Mapping[str, Any], starts: NDArray[np.int32], ends: NDArray[np.int32]
) -> tuple[int, int] | None:
    """The tokens with the borders of an answer, or else those that cover it; None where it is not whole."""
    start, end = answer["start"] + 1, answer["start"] + len(answer["text"]) + 1
    covered = np.flatnonzero((starts > 0) & (starts < end) & (ends > start))
    if not len(covered) or starts[covered[0]] > start or ends[covered[-1]] < end:
        return None
    # A character of several tokens may share one with the character beside it.
    begins, stops = covered[starts[covered] == start], covered[ends[covered] == end]
    first = begins[0] if len(begins) else covered[0]
    last = stops[-1] if len(stops) else covered[-1]
    return (int(first), int(last)) if first <= last else (int(covered[0]), int(covered[-1]))


def lost(answers: Sequence[Sequence[Any]], rows: Sequence[int], labels: Sequence[Label]) -> Lost:
    """Rows whose answer lies whole in no window, and rows whose answer begins or ends within a token."""
    found, exact = np.zeros((2, len(answers)), dtype=bool)
    np.logical_or.at(found, np.asarray(rows), np.array([any(label.tokens) for label in labels]))
    np.logical_or.at(exact, np.asarray(rows), np.array([label.is_exact for label in labels]))
    has_answer = np.array([bool(row) for row in answers])
    total = int(has_answer.sum())
    return {
        "answers": (int((has_answer & ~found).sum()), total),
        NO_TOKEN_BORDER: (int((found & ~exact).sum()), total),
    }
