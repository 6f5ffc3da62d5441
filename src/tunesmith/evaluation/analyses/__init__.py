"""What is found out about a model besides its scores.

A file in this folder is an analysis; its name is the key in metrics.json. Each reads the answers of a finished
model, in `train` and in `evaluate` alike, and gives a JSON object. It gives None where it says nothing about this
task or these rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunesmith.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tunesmith.evaluation.scoring import Scored
    from tunesmith.recipe import EvaluateRecipe
    from tunesmith.run import Run
    from tunesmith.types import JsonObject


def _nothing(split: str) -> None:
    return None


@dataclass(frozen=True)
class Answered:
    """What analyses read.

    Args:
        final: rows that count, as the model answers them.
        how: the recipe's `evaluate`.
        seed: random seed for resampling.
        run: run folder, whose files earlier phases wrote.
        scored: from `train` or `validation` to its rows as the model answers them; None where they are not at hand
            (in `evaluate` on other data). Of many training rows, a sample.
        features: from `train`, `validation` or `final` to the inputs of the head [rows, d], of the same rows; None
            where a row has no vector of its own.
        metrics: what the scores and earlier phases put into metrics.json.
    """

    final: Scored
    how: EvaluateRecipe
    seed: int
    run: Run
    scored: Callable[[str], Scored | None] = _nothing
    features: Callable[[str], NDArray[np.float32] | None] = _nothing
    metrics: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Analysis:
    """One analysis.

    Args:
        summary: what it finds out, in a few words without a full stop.
        find: its entry of metrics.json; None for none.
    """

    summary: str
    find: Callable[[Answered], JsonObject | None]


ANALYSES: Registry[Analysis] = Registry("tunesmith.evaluation.analyses", "analysis", Analysis, hyphens=False)


def analyse(answered: Answered) -> JsonObject:
    """The entries of metrics.json that the analyses give, by name."""
    found = {name: ANALYSES.get(name).find(answered) for name in ANALYSES.names()}
    return {name: entry for name, entry in found.items() if entry is not None}
