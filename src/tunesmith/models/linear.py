"""Linear layers in the arithmetic of their products, their weights as they lie or as oneDNN's products read them.

oneDNN multiplies by blocks of the weight, which it makes anew for every product unless they are given to it.
Given, products in float32 take a fifth less time, and half where tokens are few (docs/performance.md). A weight
that changes every step gains nothing by it, so only what does not learn is laid out so.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Linear:
    """x [t, n] → x Wᵀ + b [t, m], of a weight [m, n] and a bias [m]."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[t, m]."""
        return torch.addmm(self.bias, x, self.weight.t())

    def then_gelu(self, x: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """What the backward pass of GELU needs, and gelu(x Wᵀ + b)."""
        inner = self(x)
        return inner, F.gelu(inner)


class PackedLinear:
    """The same by a packed copy of the weight, for inference alone."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self.packed, self.bias = torch.ops.mkldnn._reorder_linear_weight(weight), bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[t, m]."""
        return self._product(x, "none", "")

    def then_gelu(self, x: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Nothing for a backward pass, and gelu(x Wᵀ + b), made where the product is."""
        return None, self._product(x, "gelu", "none")

    def _product(self, x: torch.Tensor, activation: str, algorithm: str) -> torch.Tensor:
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.packed, self.bias, activation, [], algorithm
        )
        return product


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of torch and this processor have products of packed weights in that arithmetic."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):  # type: ignore[no-untyped-call]
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
