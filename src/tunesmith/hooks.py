"""Functions of a program that take the place of a part of a training, or watch it.

A function cannot stand in a recipe. So a run records what it was given by name, with the checksum of its source
where there is one, and resumes only with the same. Values that an object holds in its attributes are not compared.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from tunesmith.errors import RecipeError

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_VERSIONED = ("torch", "transformers", "accelerate", "peft")
"""Packages whose versions a run records: their source is not compared."""


@dataclass(frozen=True)
class Hooks:
    """What a program gives to a training; docs/hooks.md describes each with an example.

    Args:
        callbacks: objects with methods of transformers' `TrainerCallback`, or their classes.
        loss: from outputs [b, …] and the batch to the sum of the losses, or to one loss for each item.
        optimizer: from parameter groups to an optimizer of torch.
        scheduler: from step and number of steps to a share of the peak learning rate; or from `optimizer`, and
            perhaps the number of steps, to an `LRScheduler` of torch.
        model_init: from the loaded model to the model to train, of which it may change the architecture.
        collate: from a padded training batch to the batch that the model is given.
    """

    callbacks: Sequence[object] = ()
    loss: Callable[..., Any] | None = None
    optimizer: Callable[..., Any] | None = None
    scheduler: Callable[..., Any] | None = None
    model_init: Callable[..., Any] | None = None
    collate: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        given = self.callbacks if isinstance(self.callbacks, list | tuple) else [self.callbacks]
        # Of a class an object, as a Trainer does; made here, so that all phases have the same one.
        made = tuple(one() if isinstance(one, type) else one for one in given)
        object.__setattr__(self, "callbacks", made)
        for name in self.given[bool(given) :]:
            if not callable(getattr(self, name)):
                raise RecipeError(
                    f"`{name}` must be a function, got {getattr(self, name)!r}.",
                    remedy="See docs/hooks.md. A value of the recipe is set in the recipe.",
                )

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the hooks that are given."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name))

    @property
    def in_loop(self) -> bool:
        """Whether the training loop has one of them, so that its checkpoints hold more than usual."""
        return any((self.callbacks, self.optimizer, self.scheduler))

    def describe(self) -> JsonObject:
        """The entry of the manifest: by hook, a name with the checksum of the source and plain arguments."""
        return {
            name: [identity(one) for one in self.callbacks]
            if name == "callbacks"
            else identity(getattr(self, name))
            for name in self.given
        }


NO_HOOKS = Hooks()


def identity(given: object) -> JsonObject:
    """The name of a function or class, the SHA-256 of its source, and the plain values that it was made with."""
    if isinstance(given, functools.partial):
        made_with = {str(i): _shown(value) for i, value in enumerate(given.args)}
        made_with |= {name: _shown(value) for name, value in given.keywords.items()}
        return {**identity(given.func), "arguments": made_with}
    named: Any = given if hasattr(given, "__qualname__") else type(given)
    found = {"name": f"{named.__module__}.{named.__qualname__}"}
    if checksum := _checksum(named):
        found["sha256"] = checksum
    made_with = _made_with(given)
    return {**found, "arguments": made_with} if made_with else found


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words, how the hooks that are given differ from those of a run; both as `Hooks.describe` gives them."""
    return [
        _difference(name, then.get(name), now.get(name))
        for name in dict.fromkeys([*then, *now])
        if then.get(name) != now.get(name)
    ]


def in_words(described: Mapping[str, Any]) -> str:
    """What was given, as arguments: `loss=my.module.focal, callbacks=[my.module.Watch]`."""
    return ", ".join(f"{name}={_names(entry)}" for name, entry in described.items())


def _difference(name: str, then: Any, now: Any) -> str:
    if now is None:
        return f"`{name}={_names(then)}` is not given"
    if then is None:
        return f"`{name}={_names(now)}` was not given before"
    if _names(then) != _names(now):
        return f"`{name}` is `{_names(now)}` instead of `{_names(then)}`"
    what = "arguments" if _sources(then) == _sources(now) else "source"
    return f"the {what} of `{name}={_names(now)}` {'have' if what == 'arguments' else 'has'} changed"


def _names(entry: Any) -> str:
    return f"[{', '.join(one['name'] for one in entry)}]" if isinstance(entry, list) else str(entry["name"])


def _sources(entry: Any) -> list[str | None]:
    return [one.get("sha256") for one in (entry if isinstance(entry, list) else [entry])]


def _checksum(named: Any) -> str:
    """SHA-256 of a source; empty where there is none, or where the version of its package stands for it."""
    if str(named.__module__).partition(".")[0] in _VERSIONED:
        return ""
    try:
        source = inspect.getsource(named)
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(textwrap.dedent(source).encode()).hexdigest()


def _made_with(given: Any) -> dict[str, str]:
    """The values that a function closes over, and the arguments of a callback that exports its state."""
    from types import FunctionType

    if isinstance(given, FunctionType):
        return {name: _shown(value) for name, value in _closed_over(given)}
    # The contract of transformers' `ExportableState`.
    exports = not isinstance(given, type) and hasattr(type(given), "from_state")
    arguments = given.state()["args"] if exports else {}
    return {name: _shown(value) for name, value in arguments.items()}


def _closed_over(function: Any) -> Iterable[tuple[str, object]]:
    yield from inspect.getclosurevars(function).nonlocals.items()
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            yield name, parameter.default


def _shown(value: object) -> str:
    """A plain value as it is; of anything else the name or the type, which are the same in the next process."""
    if isinstance(value, str | int | float | bool | None):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return str(identity(value)["name"]) if callable(value) else type(value).__name__
