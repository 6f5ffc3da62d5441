"""Operators of torch that are not in its public interface, by name; other versions of torch may lack them.

Each is looked up once. If an operator of a trick is missing, the trick is not installed, and the stock code runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

Operator = Callable[..., Any]
"""An operator of torch, with the arguments and results of its schema."""


@functools.cache
def find(name: str) -> Operator | None:
    """An operator by its dotted name within torch (`ops.mkldnn._linear_pointwise`); None if it is missing."""
    import torch

    found: object = torch
    for part in name.split("."):
        found = getattr(found, part, None)  # `torch.ops` finds an operator, or raises AttributeError
        if found is None:
            return None
    return found if callable(found) else None


def need(name: str) -> Operator:
    """An operator by its dotted name, for a trick that is only installed if all its operators exist.

    Raises:
        AttributeError: the operator is missing.
    """
    found = find(name)
    if found is None:
        raise AttributeError(f"torch has no operator `{name}`")
    return found


def note_of_absent(names: Iterable[str], trick: str) -> str:
    """A note with the first missing operator of a trick; empty if none is missing."""
    absent = [name for name in names if find(name) is None]
    if not absent:
        return ""
    return (
        f"this version of torch has no `torch.{absent[0]}`: the stock code runs instead of {trick}, "
        "and is slower"
    )
