"""Two sentences, and what the first of them names."""

from __future__ import annotations

import numpy as np

from tunesmith.testing.tiny_tasks import Row, TinyTask
from tunesmith.testing.tiny_words import one, scattered


def _row(rng: np.random.Generator) -> Row:
    named = [one(rng, "colour"), one(rng, "animal")]
    return {
        "document": f"{scattered(rng, named)}. {scattered(rng, [])}.",
        "summary": f"the {' '.join(named)}",
    }


tiny = TinyTask(_row, stock_loss_is_the_mean=True, repeats=True)
