"""Words, of which some are animals and colours."""

from __future__ import annotations

import numpy as np

from tunesmith.testing.tiny_tasks import Row, TinyTask
from tunesmith.testing.tiny_words import KINDS, filler, one


def _row(rng: np.random.Generator) -> Row:
    tokens: list[str] = []
    tags: list[str] = []
    for kind in rng.permutation(list(KINDS))[: int(rng.integers(1, 3))]:
        before = [word for word in filler(rng, 1, 3) if word != "big"]
        entity = [*(["big"] if rng.random() < 0.3 else []), one(rng, kind)]
        tokens += [*before, *entity]
        tags += [*["O"] * len(before), f"B-{kind}", *[f"I-{kind}"] * (len(entity) - 1)]
    return {"tokens": [*tokens, "here"], "tags": [*tags, "O"]}


tiny = TinyTask(_row, question_with=lambda text: {"text": text}, stock_loss_is_the_mean=True)
