"""The values that a field of the recipe accepts, in words: `a number above 0 and at most 1`."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from tunesmith.recipe.keys import recipe_fields
from tunesmith.recipe.schema import Recipe


def expectation(key: str) -> str:
    """The words that follow `must be` in a message; empty if the key is not a field."""
    info = recipe_fields(Recipe).get(key)
    if info is None:
        return ""
    parts = [_type_name(info.annotation, info.metadata)]
    return " ".join(part for part in parts if part) + (f" ({info.description})" if info.description else "")


def choices(key: str) -> list[str]:
    """The words among which a field of the recipe is one; empty if the key is no such field."""
    info = recipe_fields(Recipe).get(key)
    return [] if info is None else _words_of(info.annotation)


def _words_of(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is Literal:
        return [value for value in typing.get_args(annotation) if isinstance(value, str)]
    return [word for part in typing.get_args(annotation) for word in _words_of(part)]


_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def _type_name(annotation: Any, metadata: Sequence[object]) -> str:
    bounds = " and ".join(
        f"{word} {getattr(m, name)}" for m in metadata for name, word in _BOUNDS.items() if hasattr(m, name)
    )
    for m in metadata:
        if isinstance(m, BeforeValidator):
            return "a name or a list of names"
        bounds = bounds or _type_name(None, getattr(m, "metadata", []))
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        inner, *extra = typing.get_args(annotation)
        return _type_name(inner, extra)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(annotation))
    if origin in (typing.Union, types.UnionType):
        names = [_type_name(a, []) for a in typing.get_args(annotation) if a is not type(None)]
        return " or ".join(names)
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    name = words.get(annotation, "" if annotation is None else "a list" if origin is list else "a mapping")
    return " ".join(part for part in (name, bounds) if part)
