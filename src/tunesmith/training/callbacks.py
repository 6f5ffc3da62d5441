"""Calls a program's callbacks as transformers' Trainer does, and honours what they ask for.

The order of a step: `on_epoch_begin`, `on_step_begin`, the passes with `on_substep_end` between them,
`on_pre_optimizer_step`, the update, `on_optimizer_step`, `on_step_end`, `on_epoch_end`, then the log, the
evaluation and the checkpoint of the step, each with its method. So a flag of `control` holds for the step in which
it is set, as long as what it asks for is still to come.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.errors import RecipeError
from tunesmith.events import Events, Logged
from tunesmith.training.callback_arguments import CallbackArguments, NoCounterpartError, OnlyInTrainer
from tunesmith.training.callback_methods import methods_of, never_called
from tunesmith.training.state_trees import pack, unpack

if TYPE_CHECKING:
    from tunesmith.training.checkpoints import State
    from tunesmith.training.processes import Processes
    from tunesmith.training.rates import Rates
    from tunesmith.types import JsonObject

_ONLY_IN_TRAINER = ("train_dataloader", "eval_dataloader")
_FLAGS = ("should_training_stop", "should_evaluate", "should_save", "should_log")


class Callbacks:
    """The callbacks of one training; without any, every method does nothing.

    Args:
        given: objects, as in `Hooks.callbacks`.
        arguments: what they read as `args`.
        objects: what they are given by name: `model`, `processing_class`, `tokenizer`, `optimizer`.
        events: where logged values and warnings go.
        processes: processes that train together; each calls its own callbacks, and a flag of one holds for all.
    """

    def __init__(
        self,
        given: Sequence[object],
        arguments: CallbackArguments,
        objects: Mapping[str, object],
        events: Events,
        processes: Processes,
    ) -> None:
        self._arguments, self._events, self._processes = arguments, events, processes
        self._objects: dict[str, object] = dict(objects)
        self._callbacks: tuple[Any, ...] = tuple(given)
        self._methods: dict[str, Any] = {}
        self._warned: set[str] = set()
        if self._callbacks:
            self._prepare()

    def _prepare(self) -> None:
        from transformers.trainer_callback import TrainerControl, TrainerState

        self._methods = methods_of(self._callbacks)
        self._objects |= {name: OnlyInTrainer(name) for name in _ONLY_IN_TRAINER}
        self.control, self.state = TrainerControl(), TrainerState()

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    @property
    def read_gradients(self) -> bool:
        """Whether one of them sees the gradients, which must be clipped by then."""
        return bool({"on_pre_optimizer_step", "on_optimizer_step"} & self._methods.keys())

    @property
    def ask_to_stop(self) -> bool:
        """Whether the training shall end with this step."""
        return bool(self) and bool(self.control.should_training_stop)

    @property
    def ask_to_evaluate(self) -> bool:
        """Whether this step shall be evaluated."""
        return bool(self) and bool(self.control.should_evaluate)

    @property
    def ask_to_save(self) -> bool:
        """Whether this step shall be saved."""
        return bool(self) and bool(self.control.should_save)

    @property
    def ask_to_log(self) -> bool:
        """Whether this step shall be logged."""
        return bool(self) and bool(self.control.should_log)

    def begin(self, state: State, rates: Rates, epoch: float, total_steps: int) -> None:
        """The training begins or resumes."""
        if not self:
            return
        for line in never_called(self._callbacks):
            self._events.warn(line)
        self._rates = rates
        self._objects["lr_scheduler"] = rates.scheduler or rates
        for name in ("logging_steps", "eval_steps", "save_steps"):
            setattr(self.state, name, getattr(self._arguments, name))
        self.state.max_steps = total_steps
        self.state.num_train_epochs = math.ceil(self._arguments.num_train_epochs)
        self.state.is_local_process_zero = self._arguments.local_process_index == 0
        self.state.is_world_process_zero = self._processes.is_first
        if state.best_step >= 0:
            self.state.best_metric, self.state.best_global_step = state.best_value, state.best_step
        self.update(state, epoch)
        self.call("on_init_end")
        self.call("on_train_begin")

    def update(self, state: State, epoch: float) -> None:
        """The loop has come to another state."""
        if self:
            self.state.global_step, self.state.epoch = state.step, epoch
            self.state.num_input_tokens_seen = state.tokens

    def step_begins(self) -> None:
        """The flags of the step before hold no longer."""
        if not self:
            return
        for flag in _FLAGS[1:]:
            if getattr(self.control, flag):
                self._warn_once(f"a callback set control.{flag} after it could be honoured in its step")
            setattr(self.control, flag, False)
        self.call("on_step_begin")

    def log(self, values: Mapping[str, float]) -> None:
        """Values are logged; what callbacks add to them, or change, goes to the events, too."""
        if not self:
            return
        self.control.should_log = False
        logs, epoch = dict(values), round(self.state.epoch, 4)
        entry = {**logs, "epoch": epoch, "step": self.state.global_step}
        self.state.log_history.append(entry)
        given = {**logs, "epoch": epoch}
        self.call("on_log", logs=given)
        known = {**logs, "epoch": epoch}
        added = {
            name: _number(name, v) for name, v in given.items() if name not in known or known[name] is not v
        }
        entry.update(added)
        if added:
            self._events.emit(Logged(self.state.global_step, added))

    def evaluated(self, scores: Mapping[str, float]) -> None:
        """The validation rows are scored; the best metric is still that of the evaluations before."""
        if not self:
            return
        self.control.should_evaluate = False
        metrics = {f"eval_{name}": value for name, value in scores.items()}
        self.log(metrics)
        self.call("on_evaluate", metrics={**metrics, "epoch": self.state.epoch})

    def saved(self, best_checkpoint: str) -> None:
        """A checkpoint is written."""
        if self:
            self.control.should_save = False
            self.state.best_model_checkpoint = best_checkpoint or None
            self.call("on_save")

    def found_best(self, state: State) -> None:
        """The evaluation before was perhaps the best."""
        if self and state.best_step >= 0:
            self.state.best_metric, self.state.best_global_step = state.best_value, state.best_step

    def call(self, name: str, **more: object) -> None:
        """Calls a method of every callback that has it.

        Raises:
            RecipeError: one asks for what only a Trainer has, or for what the loop cannot do.
        """
        for method in self._methods.get(name, ()):
            try:
                answer = method(self._arguments, self.state, self.control, **self._objects, **more)
            except NoCounterpartError as error:
                raise RecipeError(
                    f"`{method.name}` asks for {error}.",
                    remedy="Write the callback without it; docs/hooks.md lists what there is.",
                ) from error
            self.control = answer if answer is not None else self.control
            self._rates.notice_changes()
            self._refuse_end_of_epoch(method.name)
        if name in self._methods:
            self._agree()

    def to_json(self) -> JsonObject:
        """What a resumed run must know of them."""
        if not self:
            return {}
        tensors: JsonObject = {}
        return {
            "stopped": self.ask_to_stop,
            "log_history": pack(self.state.log_history, tensors, "log_history"),
            "attributes": [
                pack(c.state()["attributes"], tensors, type(c).__name__) if _exports(c) else None
                for c in self._callbacks
            ],
        }

    def load(self, found: JsonObject) -> None:
        """Restores what `to_json` gave; a callback keeps its own state by transformers' `ExportableState`."""
        if not found:
            return
        self.control.should_training_stop = found["stopped"]
        self.state.log_history = unpack(found["log_history"], {})
        for callback, attributes in zip(self._callbacks, found["attributes"], strict=True):
            for name, value in (unpack(attributes, {}) or {}).items():
                setattr(callback, name, value)

    def _refuse_end_of_epoch(self, name: str) -> None:
        if self.control.should_epoch_stop:
            raise RecipeError(
                f"`{name}` sets control.should_epoch_stop, and an epoch cannot end early: its batches are a "
                "function of the seed and the step.",
                remedy="Set control.should_training_stop, or train fewer steps.",
            )

    def _agree(self) -> None:
        """What a callback of one process asks for holds for all of them."""
        for flag in _FLAGS if self._processes.world > 1 else ():
            setattr(self.control, flag, self._processes.any(bool(getattr(self.control, flag))))

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._events.warn(text)


def _exports(callback: object) -> bool:
    """Whether it has transformers' `ExportableState`."""
    return hasattr(type(callback), "from_state")


def _number(name: str, value: Any) -> float:
    """A value that a callback logs."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if not isinstance(value, numbers.Real):
        raise RecipeError(
            f"a callback can log numbers, and logs[{name!r}] is a `{type(value).__name__}`.",
            remedy="Log a number, or write texts to a file of your own.",
        )
    return float(value)
