"""Linear layers in the arithmetic of their products, their weights as they lie or as oneDNN's products read them.

oneDNN multiplies by blocks of the weight, which it makes anew for every product unless they are given to it.
Given, products in float32 take a fifth less time, and half where tokens are few (docs/performance.md). A weight
that changes every step gains nothing by it, so only what does not learn is laid out so.
"""

from __future__ import annotations

import functools
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from tunesmith.acceleration import operators, patching

if TYPE_CHECKING:
    from transformers.pytorch_utils import Conv1D

_State = tuple[torch.dtype, int, int, int | None]
"""Arithmetic, address and version of a weight, and version of its bias: what a packed copy was made of."""

_MOST_BYTES = 2 << 30
_LEAST_WEIGHTS = 1 << 16

_PACK, _MULTIPLY = "ops.mkldnn._reorder_linear_weight", "ops.mkldnn._linear_pointwise"
_HAS_BF16 = "ops.mkldnn._is_mkldnn_bf16_supported"

# Beside the layers, not in them: a packed weight cannot be copied with its model.
_PACKED: weakref.WeakKeyDictionary[nn.Module, tuple[_State, PackedLinear]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Linear:
    """x [t, n] → x Wᵀ + b [t, m], of a weight [m, n] and a bias [m]."""

    weight: torch.Tensor
    bias: torch.Tensor

    @property
    def dtype(self) -> torch.dtype:
        """Of the product."""
        return self.bias.dtype

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[t, m]."""
        return torch.addmm(self.bias, x, self.weight.t())

    def then_gelu(self, x: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """What the backward pass of GELU needs, and gelu(x Wᵀ + b)."""
        inner = self(x)
        return inner, F.gelu(inner)


class PackedLinear:
    """The same by a packed copy of the weight, for inference alone; of any leading dimensions."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.packed, self.bias = operators.need(_PACK)(weight.contiguous()), bias
        self.dtype = weight.dtype
        self._multiply = operators.need(f"{_MULTIPLY}.default")

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[…, m]."""
        return self._product(x, "none", "")

    def then_gelu(self, x: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Nothing for a backward pass, and gelu(x Wᵀ + b), made where the product is."""
        return None, self._product(x, "gelu", "none")

    def _product(self, x: torch.Tensor, activation: str, algorithm: str) -> torch.Tensor:
        product: torch.Tensor = self._multiply(x, self.packed, self.bias, activation, [], algorithm)
        return product


Affine = Linear | PackedLinear


@functools.cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of torch and this processor have products of packed weights in that arithmetic."""
    if not _has_onednn() or any(operators.find(name) is None for name in (_PACK, _MULTIPLY)):
        return False
    if dtype == torch.bfloat16:
        has_bf16 = operators.find(_HAS_BF16)
        return has_bf16 is not None and bool(has_bf16())
    return dtype == torch.float32


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled)  # type: ignore[no-untyped-call]


def install(model: nn.Module) -> str:
    """Lets the large linear layers of a stock model multiply by packed weights whenever no gradient is asked for.

    The packed copy is made when a layer first answers and again after its weight has changed, and takes as much
    memory as the weight. So models whose layers have more than 2 GiB stay as they are, and so do small layers,
    whose products take less time than the way to a packed one.

    Returns:
        A note where torch lacks such products; empty otherwise.
    """
    if not can_pack(torch.float32):
        absent = operators.note_of_absent((_PACK, _MULTIPLY), "the product of packed weights")
        return absent if _has_onednn() else ""
    layers: list[nn.Linear | Conv1D] = [module for module in model.modules() if _is_worth_packing(module)]
    if sum(layer.weight.numel() * layer.weight.element_size() for layer in layers) <= _MOST_BYTES:
        for layer in layers:
            patching.install(layer, _forward)
    return ""


def release_packed(model: nn.Module) -> None:
    """Frees the packed copies of a model that resumes its training."""
    for module in model.modules():
        _PACKED.pop(module, None)


def _is_worth_packing(module: Any) -> bool:
    """Whether it is a large layer of a stock class; GPT-2's has its weight the other way round."""
    from transformers.pytorch_utils import Conv1D

    is_large = type(module) in (nn.Linear, Conv1D) and module.weight.numel() >= _LEAST_WEIGHTS
    return is_large and not module.weight.is_inference()  # whose changes nobody counts


def _forward(layer: nn.Linear | Conv1D, x: torch.Tensor) -> torch.Tensor:
    """In place of a layer's stock forward pass."""
    if torch.is_grad_enabled() or x.device.type != "cpu":
        return type(layer).forward(layer, x)
    in_autocast = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if in_autocast else layer.weight.dtype
    if not can_pack(dtype) or (x.dtype != dtype and not in_autocast):
        return type(layer).forward(layer, x)
    return _packed(layer, dtype)(x.to(dtype))


def _packed(layer: nn.Linear | Conv1D, dtype: torch.dtype) -> PackedLinear:
    """The layer's weight as it is now, packed."""
    weight, bias = layer.weight, layer.bias
    state: _State = (dtype, weight.data_ptr(), weight._version, None if bias is None else bias._version)
    kept = _PACKED.get(layer)
    if kept is None or kept[0] != state:
        # Ordinary tensors, also when the first pass is one of inference.
        with torch.inference_mode(False), torch.no_grad():
            turned = weight if isinstance(layer, nn.Linear) else weight.t()
            packed = PackedLinear(turned.to(dtype), None if bias is None else bias.to(dtype))
        kept = _PACKED[layer] = state, packed
    return kept[1]
