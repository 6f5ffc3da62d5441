"""The device of a model, and the precision of its matrix products."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's weights."""
    return next(model.parameters()).device


def to_device(batch: Mapping[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the batch on the model's device."""
    device = device_of(model)
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def autocast(model: nn.Module, *, bf16: bool) -> contextlib.AbstractContextManager[object]:
    """A context in which matrix products run in bfloat16; without `bf16`, a context that changes nothing."""
    import torch

    return torch.autocast(device_of(model).type, torch.bfloat16) if bf16 else contextlib.nullcontext()


@contextlib.contextmanager
def without_plans(device: torch.device) -> Iterator[None]:
    """A context in which attention on a CUDA device is computed by kernels that fit every shape.

    cuDNN makes a plan for each new shape of a batch, and batches of similar length have many shapes
    (docs/performance.md). Forward and backward pass must be in the same context: with gradient checkpointing, the
    backward pass computes the layers again.
    """
    import torch

    if device.type != "cuda" or not torch.backends.cuda.cudnn_sdp_enabled():  # type: ignore[no-untyped-call]
        yield
        return
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(True)
