"""Records which tensors exist at the same time: from the operation that makes a storage until it is freed."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

_Owner = torch.Tensor | torch.UntypedStorage


class TensorTracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context that follows every storage that an operation makes, or reads first, until it is freed.

    Storages that are read first were not made by torch, such as a dropout mask from numpy, or are the batch.

    Args:
        before: storages from before, as `alive` returns them; they do not count.
    """

    def __init__(self, before: frozenset[int] = frozenset()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._before = before
        self._events: list[tuple[int, int]] = []  # (number of the storage, bytes more or less)
        self._alive: dict[int, tuple[int, object]] = {}
        self._gradients: set[int] = set()
        self._read: set[int] = set()
        self._made = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Runs an operation and records the storages that it reads and makes."""
        self._read.update(self._note_all((args, kwargs)))
        made = func(*args, **(kwargs or {}))
        self._note_all(made)
        return made

    def drop_gradient(self, parameter: torch.Tensor) -> None:
        """Frees the gradient of a parameter; it does not count."""
        if parameter.grad is not None:
            key = parameter.grad.untyped_storage()._cdata
            if key in self._alive:
                self._gradients.add(self._alive[key][0])
        parameter.grad = None

    def changes(self) -> NDArray[np.float64]:
        """Change of the number of bytes at each event, without the gradients of parameters."""
        return np.array([n for number, n in self._events if number not in self._gradients], dtype=np.float64)

    def peak(self) -> int:
        """The largest number of bytes at one time."""
        return int(self.changes().cumsum().max(initial=0))

    def remaining(self) -> int:
        """Bytes of storages that operations made and that still exist."""
        apart = self._gradients | self._read
        return sum(n for number, n in self._events if number not in apart)

    def alive(self) -> frozenset[int]:
        """Storages that were recorded and still exist."""
        return frozenset(self._alive)

    def _note_all(self, tree: object) -> range:
        """Records the storages of all tensors in a tree; returns the numbers of the new ones."""
        first = self._made
        for tensor in tree_iter(tree):
            if isinstance(tensor, torch.Tensor):
                self._note(*_owner(tensor))
        return range(first, self._made)

    def _note(self, owner: _Owner, key: int, size: int) -> None:
        if key in self._alive or key in self._before:
            return
        number, self._made = self._made, self._made + 1
        self._events.append((number, size))
        freed = functools.partial(self._free, key, number, size)
        self._alive[key] = (number, weakref.ref(owner, freed))  # cheaper than weakref.finalize

    def _free(self, key: int, number: int, size: int, _: object) -> None:
        self._events.append((number, -size))
        self._alive.pop(key, None)


def _owner(tensor: torch.Tensor) -> tuple[_Owner, int, int]:
    """The object that holds a tensor's bytes, its key, and the number of bytes."""
    if tensor.is_mkldnn:  # packed by oneDNN: shares its bytes with no other tensor
        return tensor, id(tensor), tensor.numel() * tensor.element_size()
    storage = tensor.untyped_storage()
    return storage, storage._cdata, int(storage.nbytes())
