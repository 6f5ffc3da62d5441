"""Texts that name an animal or a colour, with the one they name."""

from __future__ import annotations

import numpy as np

from tunesmith.testing.tiny_tasks import Row, TinyTask
from tunesmith.testing.tiny_words import KINDS, one, scattered


def _row(rng: np.random.Generator) -> Row:
    kind = str(rng.choice(list(KINDS)))
    return {"text": scattered(rng, [one(rng, kind)]), "label": kind}


tiny = TinyTask(_row, stock_loss_is_the_mean=True, repeats=True)
