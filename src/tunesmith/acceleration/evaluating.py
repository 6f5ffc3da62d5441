"""Evaluation mode without gradients, and what is freed when a model resumes its training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, and back to the mode that was."""
    import torch

    from tunesmith.acceleration.packed_linear import release_packed

    was_training = model.training
    if was_training:  # to set the mode of every module takes as long as a layer on one text
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if was_training:
            model.train()
            release_packed(model)
