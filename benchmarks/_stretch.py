"""A stretch of training steps under the clock, and what was counted in it: the same for every contender.

The first steps warm up and are not timed. In a few of them every matrix product is counted as it is dispatched,
forward and backward, which tells whether a contender computes the padding of its batches or leaves it out. Then
the clock runs from the end of one step to the end of a later one, so that everything between steps counts too.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Limits:
    """How long a stretch is.

    Args:
        warm_steps: steps before the clock starts; fewer, but at least one, when `warm_s` seconds are over.
        warm_s: most seconds of warm-up.
        steps: that are timed; fewer, but at least `least_steps`, when `timed_s` seconds are over.
        timed_s: most seconds under the clock.
        least_steps: that are timed in any case.
        counted_steps: of the warm-up, in which matrix products are counted.
    """

    warm_steps: int = 8
    warm_s: float = 2.0
    steps: int = 40
    timed_s: float = 6.0
    least_steps: int = 3
    counted_steps: int = 4


@dataclass(frozen=True)
class Sizes:
    """What one step reads.

    Args:
        rows: of the batch.
        real: tokens of the rows.
        padded: tokens of the batch, padding included.
    """

    rows: int = 0
    real: int = 0
    padded: int = 0

    def __add__(self, other: Sizes) -> Sizes:
        return Sizes(self.rows + other.rows, self.real + other.real, self.padded + other.padded)


def sizes_of(batch: Mapping[str, Any]) -> Sizes:
    """Of a batch of tensors, by its attention mask; without one, every token is real."""
    ids = [value for name, value in batch.items() if name.endswith("input_ids")]
    masks = [value for name, value in batch.items() if name.endswith("attention_mask")]
    padded = sum(tensor.numel() for tensor in ids)
    return Sizes(len(ids[0]), sum(int(mask.sum()) for mask in masks) if masks else padded, padded)


class EnoughError(Exception):
    """Ends a training whose stretch is over, where nothing else does."""


@dataclass
class Stretch:
    """The steps of one contender.

    Args:
        limits: how many of them.
        synchronize: waits until the device is done; called where the clock starts and stops, not between.
        clock: seconds.
    """

    limits: Limits = field(default_factory=Limits)
    synchronize: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        self.warm_steps = self.timed_steps = 0
        self.timed, self.counted = Sizes(), Sizes()
        self.products = 0
        self.seconds = 0.0
        self._began: float | None = None
        self._timing = False
        self._counter: Any = None

    def begin_step(self) -> None:
        """A step begins; in some of the warm-up its matrix products are counted."""
        if self._began is None:
            self._began = self.clock()
        if not self._timing and self._counter is None and self.warm_steps < self.limits.counted_steps:
            self._counter = product_counter()
            self._counter.__enter__()

    def end_step(self, sizes: Sizes) -> bool:
        """A step is done; true when the stretch is over."""
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self.products += self._counter.flops
            self.counted += sizes
            self._counter = None
        return self._end_timed_step(sizes) if self._timing else self._end_warm_step()

    def _end_warm_step(self) -> bool:
        self.warm_steps += 1
        is_warm = self.warm_steps >= self.limits.warm_steps
        if is_warm or self.clock() - (self._began or 0.0) >= self.limits.warm_s:
            self.synchronize()
            self._timing, self._began = True, self.clock()
        return False

    def _end_timed_step(self, sizes: Sizes) -> bool:
        self.timed_steps += 1
        self.timed += sizes
        is_long = self.clock() - (self._began or 0.0) >= self.limits.timed_s
        if self.timed_steps < self.limits.steps and not (
            is_long and self.timed_steps >= self.limits.least_steps
        ):
            return False
        self.synchronize()
        self.seconds = self.clock() - (self._began or 0.0)
        return True

    def result(self, matrix_parameters: int, flops_per_parameter: float = 6.0) -> dict[str, Any]:
        """What was measured.

        Args:
            matrix_parameters: that multiply each token.
            flops_per_parameter: of a token, forward and backward.
        """
        computed = self.products / (matrix_parameters * flops_per_parameter)
        leaves_out = abs(computed - self.counted.real) < abs(computed - self.counted.padded)
        return {
            "steps": self.timed_steps,
            "seconds": round(self.seconds, 4),
            "rows_per_s": self.timed.rows / self.seconds,
            "tokens_per_s": self.timed.real / self.seconds,
            "padding": 1 - self.timed.real / self.timed.padded,
            "padding_computed": 0.0 if leaves_out else 1 - self.timed.real / self.timed.padded,
            "tokens_counted": round(computed),
            "rows_per_step": self.timed.rows / self.timed_steps,
        }


def product_counter() -> Any:
    """A context that adds up the operations of products with a matrix (not the batched ones of attention)."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    products = {torch.ops.aten.mm, torch.ops.aten.addmm}

    class Counter(TorchDispatchMode):
        flops = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if func._overloadpacket in products:
                self.flops += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
            return out

    return Counter()


def peak_memory_bytes() -> int:
    """The most memory this process ever held.

    From /proc where there is one: `ru_maxrss` counts what the parent held when it started this process.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
