"""The learning rate: its schedule over a run, and its automatic peak.

The factor is a function of the step alone, so there is no scheduler state to save.

The peak of `learning_rate: auto`, for 32 rows per batch:

| parameters of the model | peak   | source |
|-------------------------|--------|--------|
| below 5 million        | 1e-3   | measured: a BART and two Llamas, see docs/training.md |
| below 50 million        | 1.5e-4 | measured: all-MiniLM-L6-v2, see docs/training.md |
| below 200 million       | 5e-5   | BERT-base: Devlin et al. 2019, appendix A.3 (2e-5 to 5e-5) |
| above                   | 2e-5   | RoBERTa-large: Liu et al. 2019, table 10 (1e-5 to 3e-5) |

It grows with the square root of the batch, the rule for Adam's family (Malladi et al. 2022, arXiv
2205.10287).
"""

from __future__ import annotations

import math

_PEAKS = ((5_000_000, 1e-3), (50_000_000, 1.5e-4), (200_000_000, 5e-5), (math.inf, 2e-5))
_REFERENCE_ROWS = 32
METHOD_RATE_FACTORS = {"probe": 1.0, "contrastive": 1.0, "full": 1.0, "lora": 10.0}
"""An adapter learns best about ten times faster than a whole model (Biderman et al. 2024, arXiv 2405.09673)."""


def auto_learning_rate(n_parameters: int, rows_per_batch: float, factor: float = 1.0) -> float:
    """The peak learning rate for a model's size, a batch's mean number of rows, and a task's factor."""
    peak = next(rate for bound, rate in _PEAKS if n_parameters < bound)
    return float(f"{factor * peak * math.sqrt(rows_per_batch / _REFERENCE_ROWS):.2g}")


def learning_rate_factor(step: int, total_steps: int, *, kind: str, warmup_steps: float) -> float:
    """The learning rate at one step, as a share of the peak.

    Args:
        step: step, from 0 to total_steps - 1.
        total_steps: number of steps in the run.
        kind: `linear` or `cosine` (both fall to nearly zero), or `constant`.
        warmup_steps: number of warm-up steps; below 1, a share of all steps.
    """
    warmup = warmup_steps * total_steps if warmup_steps < 1 else warmup_steps
    if step < warmup:
        return (step + 1) / (math.floor(warmup) + 1)
    if kind == "constant":
        return 1.0
    done = (step - warmup) / max(total_steps - warmup, 1)
    return 1.0 - done if kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
