"""The rows of every step: a function of (seed, step), known before the first step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.batches import plan_epoch
from tunesmith.training.randomness import numpy_generator


@dataclass(frozen=True)
class BatchSize:
    """The size of a batch, as tokens or as rows, in one optimizer step over all devices."""

    tokens: int | None = None
    rows: int | None = None


class Plan:
    """The batches of a run.

    Args:
        lengths: [rows], tokens of each training row.
        size: size of a batch.
        epochs: number of passes over the rows; a fraction stops within the last pass.
        max_steps: number of steps, instead of epochs.
        seed: random seed of the order.
        by_length: whether the rows of a batch have similar lengths.
    """

    def __init__(
        self,
        lengths: NDArray[np.int64],
        size: BatchSize,
        *,
        epochs: float,
        max_steps: int | None,
        seed: int,
        by_length: bool = True,
    ) -> None:
        self._lengths, self._size, self._seed, self._by_length = lengths, size, seed, by_length
        self._current: tuple[int, list[NDArray[np.int64]]] = (-1, [])
        self._starts = [0]
        while not self._is_complete(epochs, max_steps):
            epoch = len(self._starts) - 1
            self._starts.append(self._starts[-1] + len(self._epoch(epoch)))
        self.total_steps = max_steps or self._steps_of(epochs)

    def _is_complete(self, epochs: float, max_steps: int | None) -> bool:
        if max_steps is not None:
            return self._starts[-1] >= max_steps
        return len(self._starts) - 1 >= math.ceil(epochs)

    def _steps_of(self, epochs: float) -> int:
        whole = math.ceil(epochs)
        last = self._starts[whole] - self._starts[whole - 1]
        return max(1, self._starts[whole] - last + round(last * (epochs - (whole - 1))))

    @property
    def longest(self) -> int:
        """Number of tokens of the longest row."""
        return int(self._lengths.max())

    def most_tokens(self, passes: int) -> int:
        """The most padded tokens in a forward pass, if a batch takes `passes` passes."""
        if self._size.rows is not None:
            return math.ceil(self._size.rows / passes) * self.longest
        return max(self._size.tokens or 0, self.longest)

    @property
    def first_epoch_steps(self) -> int:
        """Steps of the first epoch."""
        return self._starts[1]

    def batch(self, step: int) -> NDArray[np.int64]:
        """Rows of a step, counted from 0."""
        epoch = self.epoch_of(step)
        return self._epoch(epoch)[step - self._starts[epoch]]

    def epoch_of(self, step: int) -> int:
        """The epoch of a step, from 0."""
        return int(np.searchsorted(self._starts, step, side="right")) - 1

    def epochs_done(self, steps: int) -> float:
        """Number of passes over the data after `steps` steps."""
        epoch = min(self.epoch_of(steps), len(self._starts) - 2)
        return epoch + (steps - self._starts[epoch]) / (self._starts[epoch + 1] - self._starts[epoch])

    def _epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        if self._current[0] != epoch:
            rng = numpy_generator(self._seed, "order", epoch)
            batches = plan_epoch(
                self._lengths,
                rng=rng,
                tokens_per_batch=self._size.tokens,
                rows_per_batch=self._size.rows,
                by_length=self._by_length,
            )
            self._current = (epoch, batches)
        return self._current[1]
