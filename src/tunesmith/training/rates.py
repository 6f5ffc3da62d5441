"""The learning rate of every step: from a schedule of ours, a function, or a scheduler of torch.

A callback may set `group["lr"]` of the optimizer at any time. With a schedule of ours or a function, the ratio of
what it set to what was scheduled stays for all later steps: halving the rate once halves the rest of the schedule,
and setting it before every step replaces the schedule. A scheduler of torch treats a change as it always does.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tunesmith.errors import RecipeError
from tunesmith.training.optimizer import set_learning_rate
from tunesmith.training.schedule import learning_rate_factor
from tunesmith.training.state_trees import pack, unpack

if TYPE_CHECKING:
    import torch

    from tunesmith.training.settings import Settings
    from tunesmith.types import JsonObject

Factor = Callable[[int, int], float]
"""From the step, from 0, and the number of steps to a share of the peak learning rate."""


class Rates:
    """Sets the learning rates of an optimizer, whose groups have a `lr_factor`.

    Args:
        optimizer: whose groups are set.
        settings: numbers of the loop: peak, warm-up and shape of the schedule.
        total_steps: number of steps of the run.
        own: function of a program, as `Hooks.scheduler`.
        metric: name of the metric that chooses the best step, and whether greater is better.

    Raises:
        RecipeError: the function gives neither a number nor a scheduler of torch.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        settings: Settings,
        total_steps: int,
        own: Callable[..., Any] | None = None,
        metric: tuple[str, bool] = ("", True),
    ) -> None:
        self._optimizer, self._settings, self._total = optimizer, settings, total_steps
        self._factor: Factor = _own_factor(own) if own is not None else self._planned
        self.scheduler: Any = None
        if own is not None and _makes_scheduler(own):
            set_learning_rate(optimizer, settings.learning_rate)
            self.scheduler = _scheduler(own, optimizer, total_steps)
            self._greater_is_better = metric[1]
            self._refuse_other_direction(metric[0])
        self._ratios = [1.0] * len(optimizer.param_groups)
        self._set: list[float] = []

    def set(self, step: int) -> float:
        """Sets the rates of a step, counted from 0; the rate of a group whose `lr_factor` is 1."""
        if self.scheduler is None:
            rate = self._settings.learning_rate * self._factor(step, self._total)
            set_learning_rate(self._optimizer, rate)
            for group, ratio in zip(self._optimizer.param_groups, self._ratios, strict=True):
                group["lr"] *= ratio
        self._set = self._now()
        return rate if self.scheduler is None and set(self._ratios) == {1.0} else self.current

    @property
    def current(self) -> float:
        """The rate that is set, of a group whose `lr_factor` is 1."""
        learning = [group for group in self._optimizer.param_groups if group["lr_factor"]]
        return float(learning[0]["lr"] / learning[0]["lr_factor"]) if learning else 0.0

    def get_last_lr(self) -> list[float]:
        """The rate of each group, as schedulers of torch give it."""
        return self._now()

    def notice_changes(self) -> bool:
        """Whether somebody has set other rates since; their ratios to what was set stay for the next steps."""
        now = self._now()
        if now == self._set:
            return False
        self._refuse_wrong(now)
        pairs = zip(self._ratios, now, self._set, strict=True)
        self._ratios = [ratio * new / old if old else ratio for ratio, new, old in pairs]
        self._set = now
        return True

    def step_done(self) -> None:
        """Tells a scheduler of torch that the optimizer has stepped."""
        if self.scheduler is not None and not self._is_for_plateaus:
            self.scheduler.step()
            self._refuse_wrong(self._now())

    def evaluated(self, value: float) -> None:
        """Tells a scheduler that waits for plateaus the value of the metric that chooses the best step."""
        if self.scheduler is not None and self._is_for_plateaus:
            self.scheduler.step(value)

    def to_json(self, tensors: dict[str, torch.Tensor]) -> JsonObject:
        """Everything that the next steps need; a scheduler's tensors are put beside it."""
        state = None if self.scheduler is None else self.scheduler.state_dict()
        return {"ratios": self._ratios, "scheduler": pack(state, tensors, "scheduler")}

    def load(self, state: JsonObject, tensors: dict[str, torch.Tensor]) -> None:
        """Restores what `to_json` gave."""
        self._ratios = list(state["ratios"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(unpack(state["scheduler"], tensors))

    def _planned(self, step: int, total_steps: int) -> float:
        return learning_rate_factor(
            step,
            total_steps,
            kind=self._settings.lr_scheduler_type,
            warmup_steps=self._settings.warmup_steps,
        )

    def _now(self) -> list[float]:
        return [float(group["lr"]) for group in self._optimizer.param_groups]

    @property
    def _is_for_plateaus(self) -> bool:
        import torch

        return isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)

    def _refuse_other_direction(self, metric: str) -> None:
        wanted = "max" if self._greater_is_better else "min"
        if self._is_for_plateaus and self.scheduler.mode != wanted:
            raise RecipeError(
                f"the scheduler watches `{metric}` with mode `{self.scheduler.mode}`, and it must be `{wanted}`.",
                remedy=f"Give `mode='{wanted}'`.",
            )

    def _refuse_wrong(self, rates: list[float]) -> None:
        wrong = [rate for rate in rates if not (math.isfinite(rate) and rate >= 0)]
        if wrong:
            raise RecipeError(
                f"a learning rate must be a number of at least 0, and it was set to {wrong[0]}.",
                remedy="Correct the scheduler or the callback that sets it.",
            )


def _makes_scheduler(own: Callable[..., Any]) -> bool:
    """Whether a function takes an optimizer, and not a step and the number of steps."""
    names = _required(own)
    return len(names) == 1 or names[:1] == ["optimizer"]


def _required(own: Callable[..., Any]) -> list[str]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [
        name
        for name, parameter in inspect.signature(own).parameters.items()
        if parameter.kind in positional and parameter.default is inspect.Parameter.empty
    ]


def _own_factor(own: Callable[..., Any]) -> Factor:
    def factor(step: int, total_steps: int) -> float:
        found = own(step, total_steps)
        if not isinstance(found, int | float) or not (math.isfinite(found) and found >= 0):
            raise RecipeError(
                f"scheduler(step, total_steps) must be a number of at least 0, and at step {step} of "
                f"{total_steps} it is {found!r}.",
                remedy="Return a share of the peak learning rate; or take `optimizer`, and return an LRScheduler.",
            )
        return float(found)

    return factor


def _scheduler(own: Callable[..., Any], optimizer: torch.optim.Optimizer, total_steps: int) -> Any:
    import torch

    made = own(optimizer) if len(_required(own)) == 1 else own(optimizer, total_steps)
    if not isinstance(made, torch.optim.lr_scheduler.LRScheduler):
        raise RecipeError(
            f"scheduler(optimizer) must make a scheduler of torch, and it made a `{type(made).__name__}`.",
            remedy="Return an `LRScheduler`; or take a step and the number of steps, and return a share.",
        )
    return made
