"""What a checkpoint holds where a program gave an optimizer, a scheduler or callbacks: the states of all three."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.training.callbacks import Callbacks
from tunesmith.training.rates import Rates
from tunesmith.training.state_trees import pack, unpack

if TYPE_CHECKING:
    import torch

    from tunesmith.types import JsonObject


def pack_hooks(
    optimizer: torch.optim.Optimizer, rates: Rates, callbacks: Callbacks
) -> tuple[JsonObject, dict[str, torch.Tensor]]:
    """The states as JSON, and their tensors by name.

    Raises:
        RecipeError: a state holds what is neither a tensor nor a plain value.
    """
    tensors: dict[str, torch.Tensor] = {}
    packed = {
        "optimizer": pack(optimizer.state_dict(), tensors, "optimizer"),
        "rates": rates.to_json(tensors),
        "callbacks": callbacks.to_json(),
    }
    return packed, tensors


def load_hooks(
    packed: JsonObject,
    tensors: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    rates: Rates,
    callbacks: Callbacks,
) -> None:
    """Restores what `pack_hooks` gave."""
    own = {name: tensor.clone() for name, tensor in tensors.items()}  # no longer parts of a file
    optimizer.load_state_dict(unpack(packed["optimizer"], own))
    rates.load(packed["rates"], own)
    callbacks.load(packed["callbacks"])
