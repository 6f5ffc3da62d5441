"""How a stock model computes while we run it: the same results in less time; what is saved stays stock."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

from tunesmith.models import heads

_TOLERANCE = 2e-5
"""Of the largest hidden state: equal ways differ by less than 1e-6 of it, another computation by 1e-2 and more."""


def use_fast_arithmetic(model: Any) -> str:
    """Replaces the arithmetic of pooling, layers and dropout by faster ways to the same results.

    Models come here when they are loaded, before they compute: what libraries keep in memory is set here, too.
    Two short texts are then compared with the stock implementation, which stays in use where they differ.

    Returns:
        A note that the stock implementation is used; empty otherwise.
    """
    from tunesmith.models.dropout import use_fast_dropout
    from tunesmith.models.encoder import use_fast_encoder
    from tunesmith.models.linear import use_packed_linear

    _keep_few_kernels()
    _keep_freed_memory()
    if heads.has_pooling_layer(model):
        heads.use_fast_pooling(model)
    note = _stock_unless_equal(model) if use_fast_encoder(model) else ""
    use_fast_dropout(model)
    use_packed_linear(model)
    return note


def _stock_unless_equal(model: Any) -> str:
    """Compares the fast encoder with the stock one, and undoes it where they differ."""
    from tunesmith.models.encoder import use_fast_encoder, use_stock_encoder
    from tunesmith.models.trial import is_close, last_states

    fast = last_states(model)
    use_stock_encoder(model)
    if is_close(fast, last_states(model), _TOLERANCE):
        use_fast_encoder(model)
        return ""
    return (
        f"the fast encoder computes something else than `{type(model.base_model).__name__}` of this version of "
        "transformers: the stock implementation is used, which is slower"
    )


def _keep_few_kernels() -> None:
    """Lets oneDNN and torch keep kernels for 128 shapes of a product, not 1024, which take much memory.

    Each keeps its own, and reads its number when it makes its first. banking77 trains as fast with either
    (docs/performance.md). A number that the user has set stays.
    """
    for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(cache, "128")


def _keep_freed_memory() -> None:
    """Lets the C library keep freed memory for the next tensor, instead of giving it back to the kernel.

    A page that was given back is filled with zeros by the kernel when it is used again, which costs more than
    most of what is computed on it: a fifth of a training step. Blocks of 32 MiB and more, the most that glibc
    takes from its heap, are still given back. Without glibc nothing happens.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(mmap_threshold, 32 << 20)
        mallopt(trim_threshold, 1 << 30)
