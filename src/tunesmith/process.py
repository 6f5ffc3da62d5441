"""Settings of the whole process: environment variables, and what manages its memory; made only on request.

`import tunesmith`, loading a model and training leave them as they are. The command line makes them, because it
has a process of its own. A Python program calls `tunesmith.tune_process()`. What the user has set stays.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import warnings

_SPINS = "3000"
_KERNELS = "128"
_NEW_OBJECTS = 10_000


def tune_process() -> None:
    """Makes training and predictions smaller, and faster beside other programs, in this process and its children.

    Call it at the top of a program, before torch is imported. No result changes. docs/performance.md has the
    measurements.

    - `GOMP_SPINCOUNT`: a waiting thread sleeps soon. Beside a second training, a step takes about 0.6 times as
      long; alone on a machine it takes 1.0 to 1.07 times as long.
    - `ONEDNN_PRIMITIVE_CACHE_CAPACITY` and `LRU_CACHE_CAPACITY`: fewer kernels are kept in memory.
    - the threshold of Python's garbage collector: it looks for cycles after 10,000 new objects, not 700. Torch and
      transformers are imported in 0.9 times the time.
    - `mallopt` of glibc: freed memory is kept for the next tensor. A step with stock layers took 0.84 times as
      long on an AMD Zen 4; on an Intel Xeon it gains nothing.

    Variables that are already set stay as they are.

    Warns:
        RuntimeWarning: torch is already imported, so `GOMP_SPINCOUNT` has no effect.
    """
    if "torch" in sys.modules and _threads_spin():
        warnings.warn(
            "torch is imported already, so GOMP_SPINCOUNT has no effect: call `tunesmith.tune_process()` first.",
            RuntimeWarning,
            stacklevel=2,
        )
    set_process_options()


def lacks_tuning() -> str:
    """A note for a program that other programs can slow down, with the remedy; empty if it is tuned."""
    if not _threads_spin() or not sys.platform.startswith("linux"):
        return ""
    return (
        "beside other programs, this process trains slower than the command line: if the machine is shared, call "
        "`tunesmith.tune_process()` at the top of the program, before torch is imported"
    )


def set_process_options() -> None:
    """Makes the settings of `tune_process` without a warning, for the command line."""
    if _threads_spin():
        os.environ["GOMP_SPINCOUNT"] = _SPINS
    _keep_few_kernels()
    _keep_freed_memory()
    _collect_garbage_rarely()


def is_offline() -> bool:
    """Whether `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` switches the Hub off."""
    return any(
        os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def _threads_spin() -> bool:
    """Whether waiting threads of OpenMP spin as long as GNU's library lets them: the user has set nothing else.

    Threads wait for each other at the end of every operation, some thousand times in a training step. The library
    lets the first one spin 300,000 times before it sleeps. That takes milliseconds, in which the other thread may
    need this core, because another program runs too. The library reads the variable when torch loads it.
    """
    return not any(name in os.environ for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"))


def _keep_few_kernels() -> None:
    """Lets oneDNN and torch keep the kernels of 128 shapes of a product instead of 1024, to save memory.

    Each has a cache of its own and reads its variable when it makes its first kernel. Training is as fast with
    either number (benchmarks/ablation.md).
    """
    for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(cache, _KERNELS)


def _keep_freed_memory() -> None:
    """Lets the C library keep freed memory for the next tensor, instead of returning it to the kernel.

    The kernel fills a page with zeros before it gives it out again. On an AMD Zen 4 this took a sixth of a step
    with stock layers (180 and 151 ms, one run each). On an Intel Xeon, keeping the memory gains nothing
    (benchmarks/ablation.md). Blocks of 32 MiB and more, the most that glibc takes from its heap, are still
    returned. Without glibc, nothing happens.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(mmap_threshold, 32 << 20)
        mallopt(trim_threshold, 1 << 30)


def _collect_garbage_rarely() -> None:
    """Lets Python look for cycles of objects after 10,000 new ones; more, or 0 for never, stays.

    Torch and transformers make 600,000 objects on import. With Python's thresholds, all of them are looked at six
    to eight times, in vain: 0.5 s of 4.3 s on an Intel Xeon.
    """
    first, *others = gc.get_threshold()
    if 0 < first < _NEW_OBJECTS:
        gc.set_threshold(_NEW_OBJECTS, *others)
