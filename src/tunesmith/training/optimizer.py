"""AdamW, fused, with decay on matrices only; its state as named tensors.

Loshchilov and Hutter 2019 (arXiv 1711.05101). Biases, normalisation weights and whatever else has one
dimension are not decayed, as in BERT's training. The order of parameters is that of the model, so a state
saved by name finds its place again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def make_optimizer(model: nn.Module, *, weight_decay: float) -> torch.optim.AdamW:
    """The optimizer of the model's trainable parameters; the learning rate is set at every step."""
    import torch

    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, fused=True)


def set_learning_rate(optimizer: Any, rate: float) -> None:
    """Sets the rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def optimizer_tensors(model: nn.Module, optimizer: Any) -> dict[str, torch.Tensor]:
    """The optimizer's state by `PARAMETER/MOMENT`."""
    tensors = {}
    for name, parameter in model.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}/{moment}"] = value
    return tensors


def load_optimizer_tensors(model: nn.Module, optimizer: Any, tensors: dict[str, torch.Tensor]) -> None:
    """Puts back what `optimizer_tensors` gave.

    Raises:
        KeyError: a trainable parameter's state is missing.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            optimizer.state[parameter] = {
                moment: _placed(tensors[f"{name}/{moment}"], parameter, moment) for moment in _MOMENTS
            }


def _placed(value: torch.Tensor, parameter: torch.Tensor, moment: str) -> torch.Tensor:
    return value.to(parameter.device, copy=True).reshape(() if moment == "step" else parameter.shape)
