"""A noisy copy of every training text: words dropped, misspelt or changed in case, in training rows only.

Word dropout after Iyyer et al. 2015 (Deep Averaging Networks), swapped letters after Belinkov and Bisk 2018
(arXiv 1711.02173). The noise of a text is a function of (seed, row), so the same recipe gives the same copies.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.data.column_store import Column
from tunesmith.data.examples import Examples
from tunesmith.segmentation import characters, stretches
from tunesmith.tasks import Task

if TYPE_CHECKING:
    from tunesmith.recipe.schema import Noise


def augmented(train: Examples, shares: Mapping[Noise, float], task: Task, seed: int) -> Examples:
    """The rows, and after them one noisy copy of each.

    Args:
        train: training rows.
        shares: share of the words by kind of noise: `word_dropout`, `typos`, `casing`.
        task: task whose text columns get noise.
        seed: random seed of the noise.
    """
    texts = [c.name for c in task.columns if c.kind == "text" and not c.target and c.name in train.columns]
    twice = train.take(np.tile(np.arange(len(train)), 2))
    for number, name in enumerate(texts):
        copies = (
            noisy(text, shares, np.random.default_rng((seed, row, number)))
            for row, text in enumerate(train.columns[name])
        )
        twice.columns[name] = Column.of(itertools.chain(train.columns[name], copies))
    return twice


def noisy(text: str, shares: Mapping[Noise, float], rng: np.random.Generator) -> str:
    """One text with noise; it is never empty."""
    parts = stretches(text)
    kept = [part for part in parts if part.isspace() or rng.random() >= shares.get("word_dropout", 0.0)]
    if not "".join(kept).strip():
        kept = parts
    changed = []
    for part in kept:
        if part.isspace():
            changed.append(part)
            continue
        word = _misspelt(part, rng) if rng.random() < shares.get("typos", 0.0) else part
        changed.append(_recased(word, rng) if rng.random() < shares.get("casing", 0.0) else word)
    return "".join(changed).strip()


def _misspelt(word: str, rng: np.random.Generator) -> str:
    """A word with two letters swapped, one dropped, or one doubled; marks stay with their letters."""
    letters = characters(word)
    if len(letters) < 3:
        return word
    at = int(rng.integers(1, len(letters) - 1))
    kind = int(rng.integers(3))
    one, other = letters[at], letters[at + 1]
    new = ([other, one], [other], [one, one, other])[kind]
    return "".join([*letters[:at], *new, *letters[at + 2 :]])


def _recased(word: str, rng: np.random.Generator) -> str:
    return (word.lower(), word.upper(), word.capitalize(), word.swapcase())[int(rng.integers(4))]
