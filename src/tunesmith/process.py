"""What holds for the whole process: environment variables, and the C library's memory. Set on demand alone.

`import tunesmith`, loading a model and training one leave all of it as it is. The command line sets it, for it has
a process of its own; a Python program does so by `tunesmith.tune_process()`. What the user has set stays.
"""

from __future__ import annotations

import ctypes
import os
import sys
import warnings

_SPINS = "3000"
_KERNELS = "128"


def tune_process() -> None:
    """Makes training and predictions faster and smaller, for this whole process and its children.

    Call it at the top of a program, before torch is imported. None of what it sets changes a result:

    - `GOMP_SPINCOUNT`: a thread that waits for another one sleeps soon, so that training keeps its speed beside
      other programs.
    - `ONEDNN_PRIMITIVE_CACHE_CAPACITY` and `LRU_CACHE_CAPACITY`: fewer kernels are kept in memory.
    - `mallopt` of glibc: freed memory is kept for the next tensor, which makes a training step a fifth faster.

    Variables that are set already stay as they are.

    Warns:
        RuntimeWarning: torch is imported already, so that its threads wait as long as before.
    """
    if "torch" in sys.modules and _threads_spin():
        warnings.warn(
            "torch is imported already, so GOMP_SPINCOUNT has no effect: call `tunesmith.tune_process()` first.",
            RuntimeWarning,
            stacklevel=2,
        )
    set_process_options()


def lacks_tuning() -> str:
    """A sentence for a program whose process is not tuned, and how it would be; empty where it is."""
    if not _threads_spin() or not sys.platform.startswith("linux"):
        return ""
    return (
        "this process is not tuned, and trains slower than the command line: call `tunesmith.tune_process()` at "
        "the top of the program, before torch is imported"
    )


def set_process_options() -> None:
    """The same without a warning, for the command line."""
    if _threads_spin():
        os.environ["GOMP_SPINCOUNT"] = _SPINS
    _keep_few_kernels()
    _keep_freed_memory()


def is_offline() -> bool:
    """Whether the Hub is ruled out by `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`."""
    return any(
        os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def _threads_spin() -> bool:
    """Whether a waiting thread of OpenMP spins as long as GNU's library lets it: nobody has set anything else.

    Threads meet at the end of every operation, and the library lets the one that comes first spin 300,000 times
    before it sleeps: milliseconds, in which the other thread may be waiting for just this core, because another
    program runs too. There are some thousand meetings in a training step (docs/performance.md has figures). The
    library reads the variable when torch loads it.
    """
    return not any(name in os.environ for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"))


def _keep_few_kernels() -> None:
    """Lets oneDNN and torch keep kernels for 128 shapes of a product, not 1024, which take much memory.

    Each keeps its own, and reads its number when it makes its first. banking77 trains as fast with either
    (docs/performance.md).
    """
    for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(cache, _KERNELS)


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
