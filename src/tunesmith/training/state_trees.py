"""A tree of tensors and plain values as JSON and named tensors, so that nothing is pickled.

The states of optimizers and schedulers of torch are such trees. Their containers and numbers come back as they
were: keys that are numbers, tuples, infinities.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.errors import RecipeError

if TYPE_CHECKING:
    import torch

_MAPPINGS: dict[str, Any] = {"dict": dict, "Counter": Counter, "OrderedDict": OrderedDict}
_SEQUENCES: dict[str, Any] = {"tuple": tuple, "set": set, "deque": deque}


def pack(value: Any, tensors: dict[str, torch.Tensor], path: str) -> Any:
    """A value of JSON that stands for a tree.

    Args:
        value: tree.
        tensors: where the tree's tensors are put, by path.
        path: where the tree lies, for names and messages: `optimizer`.

    Raises:
        RecipeError: the tree holds what is neither a tensor nor a plain value.
    """
    return _Packer(tensors).pack(value, path)


class _Packer:
    """Packs one tree."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self.tensors = tensors
        self._memory: set[int] = set()

    def pack(self, value: Any, path: str) -> Any:
        import torch

        if isinstance(value, torch.Tensor):
            return self._tensor(value, path)
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and not math.isfinite(value):
            return {"float": repr(value)}
        if value is None or isinstance(value, str | int | float):
            return value
        return self._container(value, path)

    def _tensor(self, value: torch.Tensor, path: str) -> dict[str, str]:
        address = value.data_ptr()
        # A file holds no memory twice.
        self.tensors[path] = value.clone() if address in self._memory else value
        self._memory |= {address} - {0}
        return {"tensor": path}

    def _container(self, value: Any, path: str) -> Any:
        name = type(value).__name__
        if type(value) is _MAPPINGS.get(name):
            return {name: [[self.pack(k, path), self.pack(v, f"{path}/{k}")] for k, v in value.items()]}
        if isinstance(value, list) or type(value) is _SEQUENCES.get(name):
            packed = [self.pack(one, f"{path}/{i}") for i, one in enumerate(value)]
            return packed if isinstance(value, list) else {name: packed}
        raise RecipeError(
            f"the state `{path}` must hold tensors and plain values, and it holds a `{name}`.",
            remedy="Checkpoints hold no pickles: use an optimizer and a scheduler whose `state_dict` is plain.",
        )


def unpack(packed: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """The tree from what `pack` gave.

    Raises:
        KeyError: a tensor is missing.
    """
    if isinstance(packed, list):
        return [unpack(one, tensors) for one in packed]
    if not isinstance(packed, dict):
        return packed
    ((kind, content),) = packed.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "float":
        return float(content)
    if kind in _MAPPINGS:
        return _MAPPINGS[kind]({unpack(k, tensors): unpack(v, tensors) for k, v in content})
    return _SEQUENCES[kind](unpack(one, tensors) for one in content)
