"""Texts, and the same in capitals."""

from __future__ import annotations

import numpy as np

from tunesmith.testing.tiny_tasks import Row, TinyTask
from tunesmith.testing.tiny_words import one, scattered


def _row(rng: np.random.Generator) -> Row:
    source = scattered(rng, [one(rng, "animal")], 1, 4)
    return {"source": source, "target": " ".join(word.upper() for word in source.split())}


tiny = TinyTask(_row, stock_loss_is_the_mean=True)
