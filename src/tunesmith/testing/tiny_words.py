"""The words of the tiny data, and texts made of them: animals and colours among filler words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ANIMALS = ("cat", "dog", "horse", "crow", "otter", "salmon", "beetle", "goat")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "grey", "pink")
FILLERS = (
    "the", "a", "is", "was", "near", "old", "new", "big", "small", "here", "there", "and", "not", "very",
)  # fmt: skip
KINDS = {"animal": ANIMALS, "colour": COLOURS}


def filler(rng: np.random.Generator, least: int, most: int) -> list[str]:
    """Between `least` and `most` filler words."""
    return [str(word) for word in rng.choice(FILLERS, size=int(rng.integers(least, most + 1)))]


def one(rng: np.random.Generator, kind: str) -> str:
    """An animal or a colour."""
    return str(rng.choice(KINDS[kind]))


def scattered(rng: np.random.Generator, named: Sequence[str], least: int = 2, most: int = 8) -> str:
    """The named words in this order, with filler words between them."""
    words = filler(rng, least, most)
    for position, word in zip(
        sorted(rng.integers(len(words) + 1, size=len(named))), reversed(named), strict=True
    ):
        words.insert(len(words) - int(position), word)
    return " ".join(words)
