"""Another forward pass in place of a module's own, for this instance only; it can be removed again.

Every trick of this room that replaces a forward pass goes through here. The stock class, its weights and what is
saved do not change. `type(module).forward` is the stock way, which a replacement takes where it does not
apply. A copy of the module has the replacement, too, bound to the copy.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

Forward = Callable[..., object]
"""Takes the module first, then what the module is called with."""


def install(module: nn.Module, forward: Forward) -> None:
    """Lets `forward(module, …)` compute in place of the module's forward pass."""
    module.__dict__["forward"] = types.MethodType(forward, module)


def is_installed(module: nn.Module, forward: Forward) -> bool:
    """Whether this replacement computes in place of the module's forward pass now."""
    return getattr(module.__dict__.get("forward"), "__func__", None) is forward


def remove(module: nn.Module, forward: Forward) -> None:
    """Undoes `install`; another replacement that came later stays."""
    if is_installed(module, forward):
        del module.__dict__["forward"]


@contextlib.contextmanager
def installed(module: nn.Module, forward: Forward) -> Iterator[None]:
    """While this lasts, `forward(module, …)` computes; afterwards what computed before."""
    before = module.__dict__.get("forward")
    install(module, forward)
    try:
        yield
    finally:
        if before is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = before
