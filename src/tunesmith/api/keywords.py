"""Keywords of functions: one table for types and help, and an error that names the one that was meant."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, get_type_hints

from tunesmith.api.recipes import KEYS
from tunesmith.errors import did_you_mean
from tunesmith.recipe import SYNONYMS, recipe_keys

Given = ParamSpec("Given")
Result = TypeVar("Result")

_DOCSTRING_WIDTH = 115


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


def spelled_out(
    keywords: type, defaults: Mapping[str, Any]
) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """A function whose `**keywords` are in its signature and its docstring as if each was written there.

    Args:
        keywords: a TypedDict of `Annotated[type, description]`, which type checkers read too.
        defaults: the defaults that are not None.
    """
    types = get_type_hints(keywords, include_extras=True)

    def spell(function: Callable[Given, Result]) -> Callable[Given, Result]:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        added = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name), annotation=of.__origin__
            )
            for name, of in types.items()
        ]
        function.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        lines = "".join(_entry(name, of.__metadata__[0]) for name, of in types.items())
        function.__doc__ = (function.__doc__ or "").replace("        **keywords: the keywords.\n", lines)
        return function

    return spell


def _entry(name: str, description: str) -> str:
    """The lines of one keyword in a docstring."""
    wrapped = textwrap.fill(
        f"{name}: {description}",
        _DOCSTRING_WIDTH,
        initial_indent=" " * 8,
        subsequent_indent=" " * 12,
        break_on_hyphens=False,
    )
    return f"{wrapped}\n"


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
