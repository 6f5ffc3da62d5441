"""How a stock model computes while we run it: the same results in less time; what is saved stays stock."""

from __future__ import annotations

from typing import Any

from tunesmith.models import heads


def use_fast_arithmetic(model: Any) -> None:
    """Replaces the arithmetic of pooling, encoder layers and dropout by faster ways to the same results."""
    from tunesmith.models.dropout import use_fast_dropout
    from tunesmith.models.encoder import use_fast_encoder

    if heads.has_pooling_layer(model):
        heads.use_fast_pooling(model)
    use_fast_encoder(model)
    use_fast_dropout(model)


def spare_memory() -> None:
    """Sets what the libraries below keep in memory; to be called before anything is computed.

    oneDNN keeps a kernel for each of the last 1024 shapes of a product, which came to gigabytes on texts of many
    lengths; 128 are as fast.
    """
    import os

    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Lets the C library keep freed memory for the next tensor, instead of giving it back to the kernel.

    A page that was given back is filled with zeros by the kernel when it is used again, which costs more than
    most of what is computed on it: a fifth of a training step. Blocks of 32 MiB and more, the most that glibc
    takes from its heap, are still given back. Without glibc nothing happens.
    """
    import ctypes
    import sys

    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(mmap_threshold, 32 << 20)
        mallopt(trim_threshold, 1 << 30)
