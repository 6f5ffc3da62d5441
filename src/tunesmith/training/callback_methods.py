"""Which methods a callback has: those that are called here, and those that never are, which is reported.

The names are those of transformers' `TrainerCallback`; a callback need not be one. A method that a subclass did
not write itself does nothing, and is not called.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.errors import RecipeError, did_you_mean

CALLED = (
    "on_init_end", "on_train_begin", "on_epoch_begin", "on_step_begin", "on_substep_end", "on_pre_optimizer_step",
    "on_optimizer_step", "on_step_end", "on_epoch_end", "on_log", "on_evaluate", "on_save", "on_train_end",
)  # fmt: skip
NEVER_CALLED = {
    "on_prediction_step": "evaluations are not cut into steps for it",
    "on_predict": "the test rows are scored when the training has ended",
    "on_push_begin": "a run is not pushed while it trains",
}
GIVEN = frozenset({
    "model", "processing_class", "tokenizer", "optimizer", "lr_scheduler", "train_dataloader", "eval_dataloader",
    "metrics", "logs",
})  # fmt: skip
"""What methods are given by name; of the data loaders only something that says that there are none."""


@dataclass(frozen=True)
class Method:
    """One method of one callback.

    Args:
        name: name of the callback's class.
        function: method, bound to the callback.
        wanted: names of the arguments that it takes by name; None for all.
    """

    name: str
    function: Callable[..., Any]
    wanted: frozenset[str] | None

    def __call__(self, *positional: object, **named: object) -> object:
        """Calls the method with the arguments that it takes."""
        wanted = self.wanted
        return self.function(*positional, **{k: v for k, v in named.items() if wanted is None or k in wanted})


def methods_of(callbacks: Iterable[object]) -> dict[str, list[Method]]:
    """The methods of all callbacks that are called here, by name.

    Raises:
        RecipeError: an object has no such method, or a method asks for an argument that does not exist here.
    """
    found: dict[str, list[Method]] = {}
    for callback in callbacks:
        own = _own(callback)
        if not own.keys() & {*CALLED, *NEVER_CALLED}:
            raise _no_callback(callback)
        for name in CALLED:
            if name in own:
                found.setdefault(name, []).append(_method(callback, name, own[name]))
    return found


def never_called(callbacks: Iterable[object]) -> list[str]:
    """A sentence for each method that looks like one to be called, and never is."""
    return [
        f"`{type(callback).__name__}.{name}` is never called: "
        f"{NEVER_CALLED.get(name) or f'no event has this name. {did_you_mean(name, CALLED)}'.rstrip('.')}"
        for callback in callbacks
        for name in _own(callback)
        if name not in CALLED
    ]


def _own(callback: object) -> Mapping[str, Callable[..., Any]]:
    """The methods whose names begin with `on_`, without those that do nothing."""
    empty = _empty_methods()
    found = {name: getattr(callback, name) for name in dir(callback) if name.startswith("on_")}
    return {
        name: method
        for name, method in found.items()
        if callable(method) and getattr(method, "__func__", method) is not empty.get(name)
    }


@functools.cache
def _empty_methods() -> Mapping[str, object]:
    from transformers import TrainerCallback

    return {name: getattr(TrainerCallback, name) for name in dir(TrainerCallback) if name.startswith("on_")}


def _method(callback: object, name: str, function: Callable[..., Any]) -> Method:
    title = f"{type(callback).__name__}.{name}"
    parameters = list(inspect.signature(function).parameters.values())
    kinds = {parameter.kind for parameter in parameters}
    by_name = [p for p in parameters[3:] if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    for parameter in by_name:
        if parameter.default is parameter.empty and parameter.name not in GIVEN:
            raise RecipeError(
                f"`{title}` asks for `{parameter.name}`, which only a Trainer of transformers has.",
                remedy=f"It can ask for: {', '.join(sorted(GIVEN))}.",
            )
    takes_all = inspect.Parameter.VAR_KEYWORD in kinds
    wanted = None if takes_all else frozenset(p.name for p in by_name) & GIVEN
    return Method(title, function, wanted)


def _no_callback(callback: object) -> RecipeError:
    hint = " A function that takes events is a listener (`listeners=`)." if callable(callback) else ""
    return RecipeError(
        f"a callback must have methods such as `on_step_end`, and `{type(callback).__name__}` has none.",
        remedy=f"Its methods can be: {', '.join(CALLED)}.{hint}",
    )
