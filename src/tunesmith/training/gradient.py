"""The gradient of one global batch, however it is split into forward passes and over processes.

Losses are sums over items, divided by the number of items in the whole global batch. An average of means over
forward passes would give the items of a short pass more weight; for sequence classification,
`transformers.Trainer` 5.23 is off by the factor of the accumulation.

The gradients of several processes are summed once a step, behind the last backward pass. The wrapper of torch for
that (DistributedDataParallel) must know which parameters a pass does not use, and allows one forward pass for each
backward pass; R-Drop and pairs of replies need two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.training.processes import Processes

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator


@dataclass(frozen=True)
class Part:
    """The input of one forward pass.

    Args:
        batch: padded tensors, including labels.
        weight: 1, or 0 for a filler that keeps a process in step and is not counted.
    """

    batch: dict[str, torch.Tensor]
    weight: float = 1.0


def accumulate_gradient(
    accelerator: Accelerator,
    parts: Sequence[Part],
    loss: Callable[[int, dict[str, torch.Tensor]], torch.Tensor],
    *,
    n_items: float,
) -> float:
    """Adds the gradient of this process's parts, and returns their share of the mean loss.

    Args:
        accelerator: object of accelerate that runs the backward pass.
        parts: forward passes of this process.
        loss: function from the number of a part and its batch to the summed loss.
        n_items: number of items in the global batch, over all parts of all processes.
    """
    total = 0.0
    for number, part in enumerate(parts):
        share = loss(number, part.batch) * (part.weight / n_items)
        accelerator.backward(share)
        total += float(share.detach())
    return total


def sum_gradients(processes: Processes, parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replaces gradients with their sums over all processes; what no process used stays without a gradient."""
    import torch

    if processes.world == 1:
        return
    trained = list(parameters)
    used = torch.tensor([float(p.grad is not None) for p in trained], device=trained[0].device)
    processes.sum_([used])
    by_type: dict[torch.dtype, list[torch.Tensor]] = {}
    for parameter, times in zip(trained, used.tolist(), strict=True):
        if not times:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        by_type.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for gradients in by_type.values():
        processes.sum_(gradients)
