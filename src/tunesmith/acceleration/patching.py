"""Replaces the forward pass of a module, for this instance only, and removes the replacement again.

Every trick that replaces a forward pass uses this module. The stock class, its weights and saved files do not
change. `type(module).forward` is the stock forward pass; a replacement calls it in cases that it does not support.
A copy of a module has the same replacement, bound to the copy.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

Forward = Callable[..., object]
"""Function of the module and of the arguments with which the module is called."""


def install(module: nn.Module, forward: Forward) -> None:
    """Replaces the module's forward pass with `forward(module, …)`."""
    module.__dict__["forward"] = types.MethodType(forward, module)


def is_installed(module: nn.Module, forward: Forward) -> bool:
    """Whether this replacement is installed in the module."""
    return getattr(module.__dict__.get("forward"), "__func__", None) is forward


def remove(module: nn.Module, forward: Forward) -> None:
    """Undoes `install`; a replacement that was installed later stays."""
    if is_installed(module, forward):
        del module.__dict__["forward"]


@contextlib.contextmanager
def installed(module: nn.Module, forward: Forward) -> Iterator[None]:
    """A context in which `forward(module, …)` replaces the forward pass; at its end, the earlier one is back."""
    before = module.__dict__.get("forward")
    install(module, forward)
    try:
        yield
    finally:
        if before is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = before
