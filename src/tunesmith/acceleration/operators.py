"""Operators of torch that are not part of its public interface, by name; another version of torch may lack them.

Each is looked for once. A trick whose operators are not all there is not installed, and the stock arithmetic
computes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

Operator = Callable[..., Any]
"""An operator of torch: arguments and results are as its schema says."""


@functools.cache
def find(name: str) -> Operator | None:
    """An operator by its dotted name within torch (`ops.mkldnn._linear_pointwise`); None where it is absent."""
    import torch

    found: object = torch
    for part in name.split("."):
        found = getattr(found, part, None)  # `torch.ops` finds an operator, or raises AttributeError
        if found is None:
            return None
    return found if callable(found) else None


def need(name: str) -> Operator:
    """The same, for a trick that is only installed where it is there.

    Raises:
        AttributeError: it is absent.
    """
    found = find(name)
    if found is None:
        raise AttributeError(f"torch has no operator `{name}`")
    return found


def note_of_absent(names: Iterable[str], trick: str) -> str:
    """Which operator is absent and that a trick does without; empty where all are there."""
    absent = [name for name in names if find(name) is None]
    if not absent:
        return ""
    return (
        f"this version of torch has no `torch.{absent[0]}`: the stock arithmetic is used instead of {trick}, "
        "which is slower"
    )
