"""The gradient of one global batch, however it is split into forward passes and over processes.

Losses are sums over items, divided by the number of items in the whole global batch. An average of means over
forward passes would give the items of a short pass more weight; for sequence classification,
`transformers.Trainer` 5.23 is off by the factor of the accumulation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


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
    accelerator: Any,
    model: Any,
    parts: Sequence[Part],
    loss: Callable[[int, dict[str, torch.Tensor]], torch.Tensor],
    *,
    n_items: float,
) -> float:
    """Adds the gradient of this process's parts, and returns their share of the mean loss.

    Args:
        accelerator: an accelerator of accelerate, whose processes average their gradients.
        model: model from `accelerator.prepare`.
        parts: forward passes of this process.
        loss: function from the number of a part and its batch to the summed loss.
        n_items: number of items in the global batch, over all parts of all processes.
    """
    total = 0.0
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        with contextlib.nullcontext() if is_last else accelerator.no_sync(model):
            share = loss(number, part.batch) * (part.weight / n_items)
            # Processes average their gradients, but each has a part of a sum.
            accelerator.backward(share * accelerator.num_processes)
            total += float(share.detach())
    return total
