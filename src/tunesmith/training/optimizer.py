"""Fused AdamW with decay on matrices only, and its state as named tensors.

Loshchilov and Hutter 2019 (arXiv 1711.05101). Biases, normalisation weights and other parameters with one
dimension are not decayed, as in BERT's training. The parameters have the order of the model, so a state that was
saved by name can be restored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunesmith.models import heads

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tunesmith.types import JsonObject

_EPSILON = 1e-8
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def make_optimizer(
    model: nn.Module,
    *,
    weight_decay: float,
    layer_lr_decay: float = 1.0,
    head: nn.Module | None = None,
    head_scale: float = 1.0,
) -> torch.optim.AdamW:
    """The optimizer of the model's trainable parameters; the learning rate is set at every step.

    Args:
        model: model with the parameters to train.
        weight_decay: weight decay of matrices.
        layer_lr_decay: factor between the learning rates of a layer and the layer above it (Howard and Ruder 2018,
            arXiv 1801.06146, section 3.1, who found 1 / 2.6).
        head: head whose outputs have their own unit.
        head_scale: unit of the head's outputs; the head learns as if its outputs were divided by it.
    """
    import torch

    groups = parameter_groups(
        model, weight_decay, layer_lr_decay=layer_lr_decay, head=head, head_scale=head_scale
    )
    optimizer = torch.optim.AdamW(groups, lr=0.0, fused=True)
    optimizer.register_step_post_hook(count_versions)
    return optimizer


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    *,
    layer_lr_decay: float = 1.0,
    head: nn.Module | None = None,
    head_scale: float = 1.0,
) -> list[JsonObject]:
    """The trainable parameters by what they have in common: depth, shape, and unit of their outputs.

    Args: as those of `make_optimizer`.
    """
    groups: dict[tuple[int, bool, float], list[nn.Parameter]] = {}
    depths = heads.depths(model) if layer_lr_decay != 1.0 else {}
    scaled = {id(parameter): head_scale for parameter in head.parameters()} if head is not None else {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = (depths.get(name, 0), parameter.ndim >= 2, scaled.get(id(parameter), 1.0))
            groups.setdefault(kind, []).append(parameter)
    return [
        {
            "params": parameters,
            # Decay is relative to the learning rate, which the scale increases.
            "weight_decay": weight_decay / scale if is_matrix else 0.0,
            "eps": _EPSILON / scale,  # gradients of larger outputs are smaller
            "lr_factor": layer_lr_decay**depth * scale,
        }
        for (depth, is_matrix, scale), parameters in sorted(groups.items(), key=lambda group: group[0])
    ]


def count_versions(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Marks the parameters as changed: the fused update does not, so cached copies would seem current."""
    import torch

    torch.autograd.graph.increment_version([p for group in optimizer.param_groups for p in group["params"]])


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_factor"]


def clip_gradient(
    optimizer: torch.optim.Optimizer,
    parameters: list[nn.Parameter],
    max_norm: float,
    *,
    in_update: bool = True,
) -> float:
    """The norm of the gradient over all parameters; the next step scales the gradient down to `max_norm`.

    Args:
        optimizer: which makes the next step.
        parameters: parameters that learn.
        max_norm: largest norm.
        in_update: whether the fused update scales, since it reads every gradient anyway; else this does.
    """
    import torch

    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if not in_update:
        torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
        return float(norm)
    excess = norm / max_norm
    inner: Any = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
    inner.grad_scale = excess.float() if excess > 1 else None
    return float(norm)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimizer's state by `PARAMETER/MOMENT`."""
    tensors = {}
    for name, parameter in model.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}/{moment}"] = value
    return tensors


def load_optimizer_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    """Restores the state from `optimizer_tensors`; that before the first step is empty.

    Raises:
        KeyError: a trainable parameter's state is missing.
    """
    if not tensors:
        getattr(optimizer, "optimizer", optimizer).state.clear()  # accelerate wraps it
        return
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            optimizer.state[parameter] = {
                moment: _placed(tensors[f"{name}/{moment}"], parameter, moment) for moment in _MOMENTS
            }


def _placed(value: torch.Tensor, parameter: torch.Tensor, moment: str) -> torch.Tensor:
    return value.to(parameter.device, copy=True).reshape(() if moment == "step" else parameter.shape)
