"""Three words, and the same in reverse."""

from __future__ import annotations

import numpy as np

from tunesmith.testing.tiny_tasks import Row, TinyTask
from tunesmith.testing.tiny_words import KINDS, one


def _row(rng: np.random.Generator) -> Row:
    words = [one(rng, str(kind)) for kind in rng.choice(list(KINDS), size=3)]
    return {"source": " ".join(words), "target": " ".join(reversed(words))}


tiny = TinyTask(_row, stock_loss_is_the_mean=True)
