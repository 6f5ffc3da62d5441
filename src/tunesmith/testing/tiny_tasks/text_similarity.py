"""Two texts that name animals and colours; the more words both name, the higher the score."""

from __future__ import annotations

import numpy as np

from tunesmith.testing.tiny_tasks import Row, TinyTask
from tunesmith.testing.tiny_words import ANIMALS, COLOURS, scattered


def _row(rng: np.random.Generator) -> Row:
    n_same = int(rng.integers(0, 4))
    words = [str(word) for word in rng.choice((*ANIMALS, *COLOURS), size=6 - n_same, replace=False)]
    same, first, second = words[:n_same], words[n_same:3], words[3:]
    pair = {"text": scattered(rng, [*same, *first]), "text_pair": scattered(rng, [*same, *second])}
    return {**pair, "score": float(n_same)}


def _with_text(text: str) -> Row:
    return {"text": text, "text_pair": "the cat is here"}


tiny = TinyTask(_row, question_with=_with_text, repeats=True)
