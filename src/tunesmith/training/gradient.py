"""The gradient of one global batch, however it is cut into forward passes and over processes.

Losses are sums over items, divided by the number of items of the whole global batch. A mean per forward pass,
averaged afterwards, weights the items of a short pass more; `transformers.Trainer` 5.23 is off by the factor
of the accumulation for sequence classification.
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
    """What one forward pass reads.

    Args:
        batch: padded tensors, with what the loss compares with.
        weight: 1, or 0 for a filler that keeps a process in step and counts for nothing.
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
        accelerator: of accelerate; its processes average their gradients.
        model: as `accelerator.prepare` returned it.
        parts: this process's forward passes.
        loss: the sum over items, from the number of the part and its batch.
        n_items: items of the global batch, over all parts of all processes.
    """
    total = 0.0
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        with contextlib.nullcontext() if is_last else accelerator.no_sync(model):
            share = loss(number, part.batch) * (part.weight / n_items)
            # Processes average their gradients; theirs are shares of a sum.
            accelerator.backward(share * accelerator.num_processes)
            total += float(share.detach())
    return total
