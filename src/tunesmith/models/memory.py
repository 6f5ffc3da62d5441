"""How many tokens of one text fit in memory while training."""

from __future__ import annotations

from typing import Any

_SHARE_OF_FREE_MEMORY = 0.5


def longest_that_fits(config: Any, free_bytes: int | None = None) -> int:
    """Tokens of a single text whose activations fit in half of the free memory.

    A layer keeps about n·(34·d + 5·a·n) values of two bytes, n tokens, d features, a heads (Korthikanti et
    al. 2022, arXiv 2205.05198, equation 2); twice that in float32.

    Args:
        config: of the model.
        free_bytes: memory to plan with; the machine's free memory when None.
    """
    if free_bytes is None:
        import psutil

        free_bytes = int(psutil.virtual_memory().available)
    layers = int(getattr(config, "num_hidden_layers", 12))
    width = int(getattr(config, "hidden_size", 768))
    attention_heads = int(getattr(config, "num_attention_heads", 12))
    budget = free_bytes * _SHARE_OF_FREE_MEMORY / (2 * layers)
    linear, square = 34 * width, 5 * attention_heads
    return int(((linear**2 + 4 * square * budget) ** 0.5 - linear) / (2 * square))
