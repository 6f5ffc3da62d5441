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
    import numpy as np
    import torch
    from accelerate import Accelerator
    from numpy.typing import NDArray


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


def accumulate_over_rows(
    processes: Processes,
    parts: Sequence[Part],
    positions: Sequence[NDArray[np.int64]],
    forward: Callable[[int, dict[str, torch.Tensor]], torch.Tensor],
    loss: Callable[[torch.Tensor], torch.Tensor],
    *,
    n_rows: int,
) -> float:
    """Adds the gradient of a loss that compares the rows of a batch with each other; returns a share of the loss.

    Such a loss is no sum over parts: cut into passes that are compared within themselves, the batch would learn
    another thing on a machine with less memory. So the outputs of all rows are computed first, in all processes
    together; then the gradient of the loss by the outputs; then each part once more, with its part of that
    gradient (gradient caching: Gao et al. 2021, arXiv 2101.06983). That costs a second forward pass.

    Args:
        processes: processes that train together.
        parts: forward passes of this process.
        positions: rows of the batch in each part.
        forward: function from the number of a part and its batch to outputs [b, …]; the same ones each time.
        loss: function from the outputs [n_rows, …] of the batch to its loss.
        n_rows: number of rows in the global batch.
    """
    import torch

    # With a graph that is thrown away at once, so that the arithmetic is that of the second time.
    first = [forward(number, part.batch).detach() for number, part in enumerate(parts)]
    whole = first[0].new_zeros(n_rows, *first[0].shape[1:])
    for at, outputs in zip(positions, first, strict=True):
        whole[at] = outputs[: len(at)]
    if processes.world > 1:
        processes.sum_([whole])
    value = loss(whole.requires_grad_())
    (gradient,) = torch.autograd.grad(value, whole)
    for number, (part, at) in enumerate(zip(parts, positions, strict=True)):
        if len(at):
            processes.accelerator.backward((forward(number, part.batch) * gradient[at]).sum())
    return float(value.detach()) if processes.is_first else 0.0


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
