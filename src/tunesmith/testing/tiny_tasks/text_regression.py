"""Texts with a number that grows with animals and shrinks with colours."""

from __future__ import annotations

import numpy as np

from tunesmith.testing.tiny_tasks import Row, TinyTask
from tunesmith.testing.tiny_words import one, scattered


def _row(rng: np.random.Generator) -> Row:
    animals, colours = (int(count) for count in rng.integers(0, 3, size=2))
    named = [one(rng, kind) for kind in ["animal"] * animals + ["colour"] * colours]
    return {"text": scattered(rng, named), "score": 10.0 + 2.5 * (animals - colours)}


tiny = TinyTask(_row)
