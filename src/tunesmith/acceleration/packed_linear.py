"""Linear layers with plain weights, or with weights packed for oneDNN's products.

oneDNN multiplies by blocks of the weight. It makes these blocks for every product, unless the weight is already
packed. On two AMD Zen 4 cores, products in float32 with packed weights took three quarters of the time, and half
for few tokens (docs/performance.md). A weight that changes in every step would be packed in every step, so only
weights that are not trained are packed. Models that write gain most: `python benchmarks/writing.py`.
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
"""Type, address and version of a weight, and version of its bias, from which a packed copy was made."""

_MOST_BYTES = 2 << 30
_LEAST_WEIGHTS = 1 << 16

_PACK, _MULTIPLY = "ops.mkldnn._reorder_linear_weight", "ops.mkldnn._linear_pointwise"
_HAS_BF16 = "ops.mkldnn._is_mkldnn_bf16_supported"

# Not stored in the layers, because a packed weight cannot be copied with its model.
_PACKED: weakref.WeakKeyDictionary[nn.Module, tuple[_State, PackedLinear]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Linear:
    """x [t, n] → x Wᵀ + b [t, m], with a weight [m, n] and a bias [m]."""

    weight: torch.Tensor
    bias: torch.Tensor

    @property
    def dtype(self) -> torch.dtype:
        """Type of the product."""
        return self.bias.dtype

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The product [t, m]."""
        return torch.addmm(self.bias, x, self.weight.t())

    def then_gelu(self, x: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """The product, which the backward pass of GELU needs, and gelu(x Wᵀ + b)."""
        inner = self(x)
        return inner, F.gelu(inner)


class PackedLinear:
    """The same as `Linear` with a packed copy of the weight, only for inference, with any leading dimensions."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.packed, self.bias = operators.need(_PACK)(weight.contiguous()), bias
        self.dtype = weight.dtype
        self._multiply = operators.need(f"{_MULTIPLY}.default")

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The product […, m]."""
        return self._product(x, "none", "")

    def then_gelu(self, x: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """None for the backward pass, and gelu(x Wᵀ + b), which the product computes at its end."""
        return None, self._product(x, "gelu", "none")

    def _product(self, x: torch.Tensor, activation: str, algorithm: str) -> torch.Tensor:
        product: torch.Tensor = self._multiply(x, self.packed, self.bias, activation, [], algorithm)
        return product


Affine = Linear | PackedLinear


@functools.cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of torch and this processor have products with packed weights of this type."""
    if not _has_onednn() or any(operators.find(name) is None for name in (_PACK, _MULTIPLY)):
        return False
    if dtype == torch.bfloat16:
        has_bf16 = operators.find(_HAS_BF16)
        return has_bf16 is not None and bool(has_bf16())
    return dtype == torch.float32


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled)  # type: ignore[no-untyped-call]


def install(model: nn.Module) -> str:
    """Makes the large linear layers of a stock model multiply by packed weights if no gradient is needed.

    A packed copy is made when a layer is first used, and again after its weight has changed. It takes as much
    memory as the weight, so models whose layers have more than 2 GiB stay unchanged. Small layers also stay
    unchanged: the call of a packed product takes longer than their product.

    Returns:
        A note if torch lacks such products; otherwise an empty string.
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
    """Frees the packed copies of a model, when its training continues."""
    for module in model.modules():
        _PACKED.pop(module, None)


def _is_worth_packing(module: Any) -> bool:
    """Whether a module is a large layer of a stock class; in GPT-2's, the weight is transposed."""
    from transformers.pytorch_utils import Conv1D

    is_large = type(module) in (nn.Linear, Conv1D) and module.weight.numel() >= _LEAST_WEIGHTS
    return is_large and not module.weight.is_inference()  # torch does not count their changes


def _forward(layer: nn.Linear | Conv1D, x: torch.Tensor) -> torch.Tensor:
    """Replaces the stock forward pass of a layer."""
    if torch.is_grad_enabled() or x.device.type != "cpu":
        return type(layer).forward(layer, x)
    in_autocast = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if in_autocast else layer.weight.dtype
    if not can_pack(dtype) or (x.dtype != dtype and not in_autocast):
        return type(layer).forward(layer, x)
    return _packed(layer, dtype)(x.to(dtype))


def _packed(layer: nn.Linear | Conv1D, dtype: torch.dtype) -> PackedLinear:
    """The current weight of a layer, packed."""
    weight, bias = layer.weight, layer.bias
    state: _State = (dtype, weight.data_ptr(), weight._version, None if bias is None else bias._version)
    kept = _PACKED.get(layer)
    if kept is None or kept[0] != state:
        # The copies are ordinary tensors, also if the first pass is in inference mode.
        with torch.inference_mode(False), torch.no_grad():
            turned = weight if isinstance(layer, nn.Linear) else weight.t()
            packed = PackedLinear(turned.to(dtype), None if bias is None else bias.to(dtype))
        kept = _PACKED[layer] = state, packed
    return kept[1]
