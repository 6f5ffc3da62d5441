"""Conversations in which the assistant repeats the animal."""

from __future__ import annotations

import numpy as np

from tunesmith.testing.tiny_tasks import Row, TinyTask
from tunesmith.testing.tiny_words import one, scattered


def _row(rng: np.random.Generator) -> Row:
    messages = []
    for _ in range(int(rng.integers(1, 3))):
        animal = one(rng, "animal")
        messages += [
            {"role": "user", "content": scattered(rng, [animal], 1, 4)},
            {"role": "assistant", "content": f"the {animal} is here"},
        ]
    return {"messages": messages}


tiny = TinyTask(_row, stock_loss_is_the_mean=True)
