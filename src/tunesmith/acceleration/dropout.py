"""Dropout with masks that cost little, on a CPU.

torch draws a mask number by number from a serial generator, which takes a tenth of a training step on two cores.
Here, a mask consists of bytes from SFC64, seeded from torch's generator, in a tenth of the time. So the mask still
depends only on `torch.manual_seed`. Srivastava et al. 2014 (JMLR 15).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from tunesmith.acceleration import patching

_STEPS = 256
"""Number of steps to which a probability is rounded: 0.1 becomes 26/256, or 0.1016."""
_WORDS = {torch.bfloat16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}


class Masks:
    """The masks of one forward pass, all from one number of torch's generator.

    The values of a mask are 0 and 1 / (1 - p), rounded to its type.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        seed = int(torch.empty((), dtype=torch.int64).random_())
        self._bits, self._scale_type = np.random.SFC64(seed), dtype

    def draw(self, p: float, *shape: int) -> torch.Tensor | None:
        """A mask of this shape; None if the probability rounds to 0."""
        dropped = round(p * _STEPS)
        if not dropped:
            return None
        n = math.prod(shape)
        kept = self._bits.random_raw((n + 7) // 8).view(np.uint8)[:n] >= dropped
        scale = torch.tensor(_STEPS / max(_STEPS - dropped, 1), dtype=self._scale_type)
        word = scale.view(_WORDS[self._scale_type]).numpy()
        # The bits of the scale, or no bits, as a product of integers: faster than a selection.
        mask = torch.from_numpy(np.multiply(kept, word, dtype=word.dtype)).view(self._scale_type)
        return mask.view(shape)


def install(model: nn.Module) -> str:
    """Replaces the masks of the model's plain dropout modules.

    Returns:
        An empty string, since there is nothing to note.
    """
    for module in model.modules():
        if type(module) is nn.Dropout and not module.inplace:
            patching.install(module, _forward)
    return ""


def _forward(module: nn.Dropout, values: torch.Tensor) -> torch.Tensor:
    if not module.training or values.device.type != "cpu" or values.dtype not in _WORDS:
        return nn.Dropout.forward(module, values)
    mask = Masks(values.dtype).draw(module.p, *values.shape)
    return values if mask is None else values * mask
