"""Switches single tricks off, for tests and for `benchmarks/ablation.py`; without this, all tricks are on.

Users have one switch for all of them, `train.acceleration` in the recipe.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

TRICKS = ("pooling", "encoder", "dropout", "packed_linear", "embedding_rows", "frozen_cache")

_OFF: contextvars.ContextVar[frozenset[str]] = contextvars.ContextVar(
    "tricks that are off", default=frozenset()
)


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """A context in which models are opened and trained without these tricks.

    Args:
        names: names from `TRICKS`.

    Raises:
        ValueError: a trick is unknown.
    """
    unknown = sorted(set(names) - set(TRICKS))
    if unknown:
        raise ValueError(f"no trick is called {unknown[0]!r}; known: {', '.join(TRICKS)}")
    token = _OFF.set(_OFF.get() | set(names))
    try:
        yield
    finally:
        _OFF.reset(token)


def is_on(name: str) -> bool:
    """Whether a trick is on."""
    return name not in _OFF.get()
