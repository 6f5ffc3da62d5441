"""Keywords that do not exist: an error that names the one that was meant."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tunesmith.api.recipes import KEYS
from tunesmith.errors import did_you_mean
from tunesmith.recipe import SYNONYMS, recipe_keys

Given = ParamSpec("Given")
Result = TypeVar("Result")


def suggesting(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """A function whose TypeError for an unknown keyword suggests the nearest, or where a recipe's key goes."""
    known = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        for name in kwargs:
            if name not in known:
                raise TypeError(f"{function.__name__}() has no keyword `{name}`. {_suggestion(name, known)}")
        return function(*args, **kwargs)

    return call


def _suggestion(name: str, known: list[str]) -> str:
    key = _key_of(name)
    if key is None or "overrides" not in known:
        return did_you_mean(name, known)
    short = _SHORT.get(key, key)
    return f"Write `{short}=…`." if short in known else f'Write `overrides={{"{key}": …}}`.'


def _key_of(name: str) -> str | None:
    """The recipe's key that a name stands for, here or in another tool."""
    if name in SYNONYMS:
        return SYNONYMS[name]
    return next((key for key in recipe_keys() if key.rpartition(".")[2] == name), None)


_SHORT = {key: name for name, key in KEYS.items()}
