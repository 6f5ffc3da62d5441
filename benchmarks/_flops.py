"""How much arithmetic a token needs, and how fast this machine does it: both sides of the model FLOPs use.

A token that is trained on needs `6 N + 12 L w s` operations: 2 for each of the N parameters in matrices forward
and 4 backward, and in each of L layers of width w the products of attention over a text of s tokens (PaLM,
Chowdhery et al. 2022, arXiv 2204.02311, appendix B, where w is H·Q). Embedding tables are looked up, not
multiplied, and a pooler or head that sees one token of a text is left out. Only real tokens count: what is
computed for padding is no use. With an adapter the gradient of the frozen matrices is not needed: `4 N`.

The rate it is compared with is measured in the same run, on the same threads: the best of a few shapes, among
them those of small encoders, so that 100 % is what the library's own matrix product reaches here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

FULL, ADAPTER = 6.0, 4.0
"""Operations a token and parameter: forward 2, gradient of the input 2, gradient of the weight 2."""
_ONE_TOKEN_ONLY = ("pooler", "classifier", "score", "head")
_CPU_SHAPES = ((1024, 384, 1536), (1024, 1536, 384), (2048, 1024, 1024), (2048, 2048, 2048))
_GPU_SHAPES = ((8192, 4096, 4096), (8192, 8192, 8192))


def flops_per_token(
    matrix_parameters: int, layers: int, width: int, context: float, per_parameter: float = FULL
) -> float:
    """Operations to train on one token.

    Args:
        matrix_parameters: N, that multiply each token.
        layers: L.
        width: w, features.
        context: s, tokens that the mean token attends to.
        per_parameter: `FULL`, or `ADAPTER` where the matrices are frozen.
    """
    return per_parameter * matrix_parameters + 2 * per_parameter * layers * width * context


def mean_context(lengths: Sequence[int]) -> float:
    """Length of the text that the mean token is in: Σ n² / Σ n over texts of n tokens."""
    return sum(n * n for n in lengths) / sum(lengths)


def matrix_parameters(model: Any) -> int:
    """Parameters of the matrices that every token is multiplied with; of a language model, its output too."""
    import torch

    inner = getattr(model, "base_model", model)
    found = sum(
        module.weight.numel()
        for name, module in inner.named_modules()
        if isinstance(module, torch.nn.Linear) and not set(name.split(".")) & set(_ONE_TOKEN_ONLY)
    )
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return found + (output.weight.numel() if output is not None else 0)


def shape_of(config: Any) -> dict[str, int]:
    """Layers and width by a model's config."""
    return {"layers": config.num_hidden_layers, "width": config.hidden_size}


def matrix_rates(device: str = "cpu", seconds: float = 0.4) -> dict[str, float]:
    """Operations a second of the best shape, by type of number.

    Args:
        device: to measure.
        seconds: for each shape and type.
    """
    import torch

    kinds = {"bf16": torch.bfloat16, "fp32": torch.float32}
    shapes = _CPU_SHAPES if device == "cpu" else _GPU_SHAPES
    return {
        name: max(_rate(torch.device(device), kind, shape, seconds) for shape in shapes)
        for name, kind in kinds.items()
    }


def _rate(device: Any, kind: Any, shape: tuple[int, int, int], seconds: float) -> float:
    import torch

    m, k, n = shape
    left, right = torch.randn(m, k, device=device, dtype=kind), torch.randn(k, n, device=device, dtype=kind)
    for _ in range(3):
        left @ right
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    best, ends = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < ends:
        wait()
        began = time.perf_counter()
        for _ in range(4):
            left @ right
        wait()
        best = max(best, 4 * 2 * m * k * n / (time.perf_counter() - began))
    return best
