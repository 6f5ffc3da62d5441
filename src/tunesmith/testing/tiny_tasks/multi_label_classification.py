"""Texts that name an animal, a colour, both or neither, with what they name."""

from __future__ import annotations

import numpy as np

from tunesmith.testing.tiny_tasks import Row, TinyTask
from tunesmith.testing.tiny_words import KINDS, one, scattered


def _row(rng: np.random.Generator) -> Row:
    kinds = [kind for kind in KINDS if rng.random() < 0.6]
    return {"text": scattered(rng, [one(rng, kind) for kind in kinds]), "labels": kinds}


tiny = TinyTask(_row, family="roberta")
