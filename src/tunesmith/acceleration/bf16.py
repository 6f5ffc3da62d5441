"""Whether matrix products in bfloat16 are worth it on this machine.

A processor may have instructions for bfloat16 that are slower than its float32 ones: an Intel Xeon with
avx512_bf16 whose AMX a virtual machine hides computes 165 GFLOP/s in bfloat16 and 297 in float32, where an AMD
Zen 5 computes 890 and 205. So one product is timed in both.
"""

from __future__ import annotations

import functools
import time

from tunesmith.acceleration import operators

_SHAPE = 1024, 512, 1024
"""Rows, inputs and outputs of the timed product: 2 to 10 ms each."""
_ROUNDS = 5
_LEAST_GAIN = 1.2
"""Least ratio of the times. Below it, rounding costs precision for nothing; and noise shall not decide."""


def has_bf16(device: str) -> bool:
    """Whether the processor multiplies bfloat16 matrices in hardware."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu":
        return False
    checks = [
        operators.find(name) for name in ("cpu._is_avx512_bf16_supported", "cpu._is_amx_tile_supported")
    ]
    return any(check() for check in checks if check is not None)


def bf16_is_faster(device: str) -> bool:
    """Whether the processor multiplies bfloat16 matrices in hardware, and clearly faster than float32 ones."""
    return has_bf16(device) and (device == "cuda" or _gain() >= _LEAST_GAIN)


@functools.cache
def _gain() -> float:
    """The time of a product in float32 by that in bfloat16, each the least of some rounds in turns."""
    import torch

    rows, inputs, outputs = _SHAPE
    x, weight = torch.full((rows, inputs), 0.5), torch.full((outputs, inputs), 0.5)
    pairs = {dtype: (x.to(dtype), weight.to(dtype)) for dtype in (torch.float32, torch.bfloat16)}
    least = dict.fromkeys(pairs, float("inf"))
    with torch.no_grad():
        for _ in range(_ROUNDS + 1):  # the first round prepares the kernels
            for dtype, pair in pairs.items():
                began = time.perf_counter()
                torch.nn.functional.linear(*pair)
                least[dtype] = min(least[dtype], time.perf_counter() - began)
    return least[torch.float32] / least[torch.bfloat16]
