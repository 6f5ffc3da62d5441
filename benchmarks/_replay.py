"""Searches replayed on stored trials: how long each method takes until it has the best quality of all.

A stored trial has its learning curve on all rows, and its curve on a part of the rows. A method decides in which
order trials are run and when one is stopped; what it would have seen, and how long that took, is read from the
store. So all methods see the same noise, and a replay takes no training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Point = tuple[float, float]
"""Seconds since the trial began, and the best validation metric so far."""


@dataclass(frozen=True)
class Stored:
    """A trial of the store.

    Args:
        whole: curve on all rows; its last point is the end.
        part: curve on a part of the rows.
    """

    whole: tuple[Point, ...]
    part: tuple[Point, ...]

    @property
    def quality(self) -> float:
        """Its best validation metric on all rows."""
        return self.whole[-1][1]

    @property
    def seconds(self) -> float:
        """Time of the training on all rows."""
        return self.whole[-1][0]


Found = list[Point]
"""Seconds since the search began, and the best quality on all rows so far."""


def random_full(trials: Sequence[Stored], order: Sequence[int]) -> Found:
    """Every trial on all rows, in a random order."""
    found, clock, best = [], 0.0, -np.inf
    for number in order:
        clock += trials[number].seconds
        best = max(best, trials[number].quality)
        found.append((clock, best))
    return found


def median_pruned(trials: Sequence[Stored], order: Sequence[int], startup: int = 5) -> Found:
    """Optuna's default: a trial stops where it is below the median of those before it at the same point."""
    found, clock, best = [], 0.0, -np.inf
    seen: dict[int, list[float]] = {}
    for rank, number in enumerate(order):
        for at, (seconds, value) in enumerate(trials[number].whole):
            others = seen.setdefault(at, [])
            is_pruned = rank >= startup and others and value < np.median(others)
            others.append(value)
            if is_pruned:
                clock += seconds
                break
        else:
            clock += trials[number].seconds
            best = max(best, trials[number].quality)
        found.append((clock, best))
    return found


def coarse_to_fine(trials: Sequence[Stored], order: Sequence[int], reduction: int = 2) -> Found:
    """Ours: all on a part of the rows, where the worse half ends early; then on all rows, the best first."""
    clock, reached = 0.0, {}
    rungs: dict[int, list[float]] = {}
    for number in order:
        for at, (seconds, value) in enumerate(trials[number].part):
            rung = rungs.setdefault(at, [])
            rung.append(value)
            kept = sorted(rung, reverse=True)[: max(1, len(rung) // reduction)]
            is_last = at == len(trials[number].part) - 1
            if is_last or value < kept[-1]:
                clock += seconds
                reached[number] = (is_last, value)
                break
    ranked = sorted(order, key=lambda number: reached[number], reverse=True)
    found, best = [], -np.inf
    for number in ranked:
        clock += trials[number].seconds
        best = max(best, trials[number].quality)
        found.append((clock, best))
    return found


METHODS: dict[str, Callable[[Sequence[Stored], Sequence[int]], Found]] = {
    "random, full trainings": random_full,
    "random, median pruner": median_pruned,
    "coarse to fine": coarse_to_fine,
}


def time_to(found: Found, quality: float) -> float:
    """Seconds until a quality is reached; infinite if it never is."""
    return next((seconds for seconds, best in found if best >= quality), np.inf)


def replay(trials: Sequence[Stored], *, orders: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """The median time of each method until it has the best quality of the store, over random orders.

    Args:
        trials: the store.
        orders: number of random orders.
        seed: random seed of the orders.
    """
    rng = np.random.default_rng(seed)
    best = max(trial.quality for trial in trials)
    whole = sum(trial.seconds for trial in trials)
    shuffled = [rng.permutation(len(trials)) for _ in range(orders)]
    found = {}
    for name, method in METHODS.items():
        times = [time_to(method(trials, order), best) for order in shuffled]
        reached = [time for time in times if np.isfinite(time)]
        found[name] = {
            "reached": len(reached) / orders,
            "median_s": float(np.median(times)) if len(reached) * 2 > orders else float("inf"),
            "share_of_all_trainings": float(np.median(times)) / whole,
        }
    return found
