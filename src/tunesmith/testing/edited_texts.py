"""Texts with one small edit, which checks of copies must still recognise."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal, get_args

Edit = Literal["changed", "added", "case", "punctuation"]
EDITS: tuple[Edit, ...] = get_args(Edit)


def edited(text: str, kind: Edit, rng: Random, words: Sequence[str]) -> str:
    """A text with one small edit.

    Args:
        text: text with at least one word.
        kind: a word changed or added, other case, or other punctuation.
        rng: random generator.
        words: words that may come in.
    """
    parts = text.split()
    if kind == "changed":
        parts[rng.randrange(len(parts))] = rng.choice(words)
    if kind == "added":
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(words))
    if kind == "case":
        return rng.choice([text.upper(), text.title(), text.swapcase()])
    if kind == "punctuation":
        return rng.choice(
            [text.rstrip(" .?!") + " !", f'"{text}"', text.replace(",", ""), text.replace(" ", "  ")]
        )
    return " ".join(parts)
