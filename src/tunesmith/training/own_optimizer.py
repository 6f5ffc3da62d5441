"""A program's own optimizer, and the state of any optimizer of torch in a checkpoint."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tunesmith.errors import RecipeError
from tunesmith.training.optimizer import count_versions, parameter_groups

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tunesmith.training.settings import Settings

_REMEDY = "Make it from all groups: `optimizer=lambda groups: torch.optim.SGD(groups, momentum=0.9)`."


def own_optimizer(
    make: Callable[..., Any], model: nn.Module, settings: Settings, head: nn.Module | None, head_scale: float
) -> torch.optim.Optimizer:
    """The optimizer that `Hooks.optimizer` makes of the model's trainable parameters.

    Each group comes with its `weight_decay` and its peak `lr`. The schedule multiplies the `lr` that a group has
    when the function returns.

    Args:
        make: function from parameter groups to an optimizer.
        model: model with the parameters to train.
        settings: peak learning rate and weight decay.
        head: head whose outputs have their own unit.
        head_scale: unit of the head's outputs.

    Raises:
        RecipeError: it is no optimizer of torch, needs a closure, or lacks a parameter.
    """
    import torch

    peak = settings.learning_rate
    groups = parameter_groups(
        model, settings.weight_decay, layer_lr_decay=settings.layer_lr_decay, head=head, head_scale=head_scale
    )
    given = [
        {"params": g["params"], "weight_decay": g["weight_decay"], "lr": peak * g["lr_factor"]}
        for g in groups
    ]
    made = make(given)
    if not isinstance(made, torch.optim.Optimizer):
        raise RecipeError(
            f"optimizer(groups) must make an optimizer of torch, and it made a `{type(made).__name__}`.",
            remedy=_REMEDY,
        )
    _refuse_closure(made)
    _refuse_missing(made, model)
    for group in made.param_groups:
        group["lr_factor"] = _rate(group) / peak
    made.register_step_post_hook(count_versions)
    return made


def _rate(group: dict[str, Any]) -> float:
    rate = group.get("lr")
    if rate is None:
        raise RecipeError("every group of an optimizer must have an `lr`, and one has none.", remedy=_REMEDY)
    return float(rate)


def _refuse_closure(made: torch.optim.Optimizer) -> None:
    closure = inspect.signature(type(made).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise RecipeError(
            f"an optimizer must step without a closure, and `{type(made).__name__}` needs one.",
            remedy="Use an optimizer of the first order, such as SGD or Adafactor.",
        )


def _refuse_missing(made: torch.optim.Optimizer, model: nn.Module) -> None:
    known = {id(parameter) for group in made.param_groups for parameter in group["params"]}
    missing = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in known]
    if missing:
        raise RecipeError(
            f"the optimizer must have every trainable parameter, and {len(missing)} are missing, "
            f"`{missing[0]}` first.",
            remedy=f"{_REMEDY} Parameters that shall not learn are named in `train.freeze`.",
        )
