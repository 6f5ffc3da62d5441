"""Passages of a text and their tokens: where answers begin and end, and which answers are lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.encoded import Lost
from tunesmith.metrics import squad
from tunesmith.segmentation import characters
from tunesmith.tasks._units import Units

if TYPE_CHECKING:
    from transformers import BatchEncoding

    from tunesmith.tasks import Values

NO_TOKEN_BORDER = "answers (a border within a token)"

_WHITE_SPACE = np.array([code for code in range(0x3001) if chr(code).isspace()], dtype=np.uint32)


def places(
    encoded: BatchEncoding, sequence: int, context: str
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """[tokens] twice: the characters of the context that a token covers, from 1; 0 outside the context.

    A token covers whole characters here, a letter with its marks, without white space at its edges: byte-level
    tokenizers include the space before a word in its token, and others split letters from marks.
    """
    ids = encoded.sequence_ids(sequence)
    offsets = np.array(encoded["offset_mapping"][sequence], dtype=np.int32).reshape(-1, 2)
    in_context = np.array([i == 1 for i in ids]) & (offsets[:, 1] > offsets[:, 0])
    offsets[~in_context] = 0
    first, last = _borders(context)
    starts, ends = first[offsets[:, 0]], last[offsets[:, 1]]
    at = np.flatnonzero(in_context)
    if (starts[at[1:]] < ends[at[:-1]]).any():
        starts, ends = _decided(offsets, context)
    inside = in_context & (ends > starts)
    return np.where(inside, starts + 1, 0), np.where(inside, ends + 1, 0)


def _decided(offsets: NDArray[np.int32], context: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """[tokens] twice: the characters of a token, if several tokens share a character."""
    edges = np.cumsum([0, *map(len, characters(context))])
    bounds = np.stack([edges[:-1], edges[1:]], axis=1)
    bounds = bounds[[not context[start].isspace() for start in edges[:-1]]]
    units = Units.of(offsets.astype(np.int64), bounds)
    starts, ends = np.zeros((2, len(offsets)), dtype=np.int32)
    starts[units.tokens], ends[units.tokens] = bounds[units.first, 0], bounds[units.last, 1]
    return starts, ends


@lru_cache(maxsize=16)  # the windows and the questions of a context follow each other
def _borders(context: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """[characters + 1] twice: the start of a passage that starts here, and the end of one that ends here."""
    n = len(context)
    blank = np.isin(np.frombuffer(context.encode("utf-32-le"), dtype=np.uint32), _WHITE_SPACE)
    letters, here = np.flatnonzero(~blank), np.arange(n + 1)
    first = np.append(letters, n)[np.searchsorted(letters, here)]
    last = np.append(0, letters + 1)[np.searchsorted(letters + 1, here, side="right")]
    if not context.isascii():
        edges = np.cumsum([0, *map(len, characters(context))])
        first = edges[np.searchsorted(edges, first, side="right") - 1]
        last = edges[np.searchsorted(edges, last)]
    return first.astype(np.int32), last.astype(np.int32)


@dataclass(frozen=True)
class Label:
    """The label of a window: first and last token of an answer, (0, 0) for no answer.

    Args:
        tokens: first and last token.
        is_exact: whether these tokens give exactly the answer, under the metric's comparison.
    """

    tokens: tuple[int, int] = (0, 0)
    is_exact: bool = False


def label_of(
    answers: Sequence[Values], context: str, starts: NDArray[np.int32], ends: NDArray[np.int32]
) -> Label:
    """The first answer in the window, preferably one that tokens can express exactly."""
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


def _tokens_of(answer: Values, starts: NDArray[np.int32], ends: NDArray[np.int32]) -> tuple[int, int] | None:
    """The tokens with the borders of an answer, else those that cover it; None if the answer is not whole."""
    start, end = answer["start"] + 1, answer["start"] + len(answer["text"]) + 1
    covered = np.flatnonzero((starts > 0) & (starts < end) & (ends > start))
    if not len(covered) or starts[covered[0]] > start or ends[covered[-1]] < end:
        return None
    # A character of several tokens may share a token with the character beside it.
    begins, stops = covered[starts[covered] == start], covered[ends[covered] == end]
    first = begins[0] if len(begins) else covered[0]
    last = stops[-1] if len(stops) else covered[-1]
    return (int(first), int(last)) if first <= last else (int(covered[0]), int(covered[-1]))


def lost(answers: Sequence[Sequence[object]], rows: Sequence[int], labels: Sequence[Label]) -> Lost:
    """Rows whose answer is whole in no window, and rows whose answer begins or ends within a token."""
    found, exact = np.zeros((2, len(answers)), dtype=bool)
    np.logical_or.at(found, np.asarray(rows), np.array([any(label.tokens) for label in labels]))
    np.logical_or.at(exact, np.asarray(rows), np.array([label.is_exact for label in labels]))
    has_answer = np.array([bool(row) for row in answers])
    total = int(has_answer.sum())
    return {
        "answers": (int((has_answer & ~found).sum()), total),
        NO_TOKEN_BORDER: (int((found & ~exact).sum()), total),
    }
