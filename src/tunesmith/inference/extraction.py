"""Training text that a model writes out: given the first part of a text, does greedy decoding write the rest?

As in Carlini et al. 2023 (arXiv 2202.07646), a training text counts as extracted if the model continues it word
for word. A model with an encoder is given the whole source, and must write the beginning of the target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.encoded import Encoded
from tunesmith.tasks import IGNORED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import Array

MOST_TEXTS = 100
GIVEN_TOKENS = 256
WRITTEN_TOKENS = 50
FEWEST_TOKENS = 5
"""A shorter rest is easily guessed."""


def parts_to_write(encoded: Encoded, seed: int) -> Encoded | None:
    """Sequences of training texts, of which only the part that the model must write has labels.

    It is the second half of the last piece that is learned without a break (the text, the last reply), at most 50
    tokens of it; up to 256 tokens before it are given.

    Args:
        encoded: sequences of training rows, with labels.
        seed: random seed of the choice, where there are many.

    Returns:
        At most 100 sequences; None where none has enough tokens.
    """
    has_encoder = "decoder_labels" in encoded.ragged
    cut = _target if has_encoder else _second_half
    order = np.random.default_rng(seed).permutation(len(encoded))
    found: list[tuple[int, Array, Array]] = []
    for sequence in order.tolist():
        ids = encoded.ragged["input_ids"][sequence]
        labels = encoded.ragged["decoder_labels" if has_encoder else "labels"][sequence]
        if len(found) < MOST_TEXTS and (part := cut(ids, labels)) is not None:
            found.append((sequence, *part))
    if not found:
        return None
    found.sort(key=lambda part: part[0])
    sequences, inputs, labels_of = zip(*found, strict=True)
    name = "decoder_labels" if has_encoder else "labels"
    rows = encoded.rows[list(sequences)].tolist()
    return Encoded.of({"input_ids": inputs, name: labels_of}, rows=rows, n_rows=encoded.n_rows)


def _target(ids: Array, labels: Array) -> tuple[Array, Array] | None:
    labels = labels[:WRITTEN_TOKENS]
    return (ids, labels) if len(labels) >= FEWEST_TOKENS else None


def _second_half(ids: Array, labels: Array) -> tuple[Array, Array] | None:
    learned = np.flatnonzero(labels != IGNORED)
    if not len(learned):
        return None
    breaks = np.flatnonzero(np.diff(learned) > 1)
    first, end = int(learned[breaks[-1] + 1] if len(breaks) else learned[0]), int(learned[-1]) + 1
    middle = (first + end + 1) // 2
    end = min(end, middle + WRITTEN_TOKENS)
    if end - middle < FEWEST_TOKENS:
        return None
    start = max(middle - GIVEN_TOKENS, 0)
    wanted: NDArray[np.int64] = np.full(end - start, IGNORED, dtype=np.int64)
    wanted[middle - start :] = ids[middle:end]
    return ids[start:end], wanted
