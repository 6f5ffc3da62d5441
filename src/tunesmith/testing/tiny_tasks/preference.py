"""Prompts that name an animal, with a reply that repeats it and one that does not."""

from __future__ import annotations

import numpy as np

from tunesmith.testing.tiny_tasks import Row, TinyTask
from tunesmith.testing.tiny_words import ANIMALS, scattered


def _row(rng: np.random.Generator) -> Row:
    animal, other = (str(word) for word in rng.choice(ANIMALS, size=2, replace=False))
    replies = {"chosen": f"the {animal} is here", "rejected": f"not {other}"}
    return {"prompt": scattered(rng, [animal], 1, 5), **replies}


tiny = TinyTask(_row, repeats=True)
