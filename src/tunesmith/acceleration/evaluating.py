"""A context for evaluation, which frees packed weights when the training continues."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """A context in evaluation mode without gradients; at its end, the model is in its old mode."""
    import torch

    from tunesmith.acceleration.packed_linear import release_packed

    was_training = model.training
    if was_training:  # setting the mode of every module takes as long as a layer on one text
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if was_training:
            model.train()
            release_packed(model)
