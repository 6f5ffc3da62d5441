"""Watches a trial, and says when it should end early: it is worse than others, diverges, or is late."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tunesmith.events import Evaluation, Event, Step
from tunesmith.tuning.outcome import Early, Result

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_FIRST_STEPS = 5
_LATEST_STEPS = 20
_LOSS_RATIO = 3.0
"""A trial diverges if the mean loss of its latest steps is this many times that of its first ones, plus one."""


class Watch:
    """A listener of one trial, which is asked at every step whether the trial should stop.

    Args:
        deadline: `time.time()` at which it is cut short.
        should_prune: function from the percentage of steps done and the validation metric to whether it is pruned.
        stop_all: function that says whether the whole search is to stop.
    """

    def __init__(
        self,
        deadline: float,
        should_prune: Callable[[int, float], bool],
        stop_all: Callable[[], bool],
    ) -> None:
        self._deadline, self._should_prune, self._stop_all = deadline, should_prune, stop_all
        self._first: list[float] = []
        self._latest: list[float] = []
        self._steps = 0
        self._total = 1
        self._history: list[JsonObject] = []
        self._best: float | None = None
        self.higher_is_better = True
        self.reason: tuple[Early, str] | None = None

    def __call__(self, event: Event) -> None:
        """Takes an event of the trial."""
        if isinstance(event, Step):
            self._steps, self._total = event.step, event.total_steps
            self._watch_loss(event.loss)
        elif isinstance(event, Evaluation):
            self._evaluated(event)

    def should_stop(self) -> bool:
        """Whether the trial should stop now, or the whole search."""
        if self._stop_all():
            self.reason = None
            return True
        if self.reason is None and time.time() > self._deadline:
            self.reason = ("out_of_time", "the time of the stage was over")
        return self.reason is not None and self._steps < self._total

    def ended_early(self, state: Early, why: str) -> Result:
        """The result of a trial that was not trained to its end."""
        return Result(state, self._best, steps=self._steps, history=self._history, reason=why)

    def _evaluated(self, event: Evaluation) -> None:
        value = event.scores[event.metric]
        self._history.append({"step": event.step, **event.scores})
        better = max if self.higher_is_better else min
        self._best = value if self._best is None else better(self._best, value)
        percent = round(100 * event.step / self._total)
        if percent < 100 and self.reason is None and self._should_prune(percent, self._best):
            self.reason = ("pruned", f"worse than other trials after {percent} % of its steps")

    def _watch_loss(self, loss: float) -> None:
        if len(self._first) < _FIRST_STEPS:
            self._first.append(loss)
            return
        self._latest = [*self._latest[-_LATEST_STEPS + 1 :], loss]
        if len(self._latest) < _LATEST_STEPS or self.reason is not None:
            return
        first, latest = sum(self._first) / len(self._first), sum(self._latest) / len(self._latest)
        if latest > _LOSS_RATIO * max(first, 0.0) + 1.0:
            self.reason = ("diverged", f"the loss rose from {first:.3g} to {latest:.3g}")
