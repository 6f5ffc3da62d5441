"""Which tricks are in use: all, unless a benchmark or a test leaves some out to see what they are worth.

Users have one switch, `train.acceleration` of the recipe. This one is for `benchmarks/ablation.py`.
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
    """While this lasts, models are opened and trained without these tricks.

    Args:
        names: some of `TRICKS`.

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
    """Whether a trick is in use."""
    return name not in _OFF.get()
