"""Labels, or a range of numbers, that hold the true one with a probability that the user chooses.

Split conformal prediction (Vovk et al. 2005; Lei et al. 2018). A label is as strange as 1 minus its probability,
so the sets are the smallest ones on average (Sadinle, Lei and Wasserman 2019); a number is as strange as its
distance from the predicted one. How strange the true answers of the validation rows were is saved with the
model. For a coverage of 0.95, a set holds all answers that are no stranger than 95 % of them. Nothing is drawn
at random. A set that would be empty holds the most probable label.

Adaptive sets (APS, RAPS) were measured too: `benchmarks/trust-abstention.md`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.errors import RecipeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.tasks import LabelSchema, PredictionSets
    from tunesmith.types import JsonObject


def strangeness(
    sets: PredictionSets, values: NDArray[np.floating], true: NDArray[Any]
) -> NDArray[np.float64]:
    """[rows], how far each true answer is from what the model gave.

    Args:
        sets: capability of the task.
        values: [rows, labels] probabilities, or [rows, 1] predicted numbers.
        true: [rows], numbers of the true labels, or true numbers.
    """
    wide = np.asarray(values, dtype=np.float64)
    if sets.kind == "interval":
        return np.asarray(np.abs(wide[:, 0] - true))
    return np.asarray(1 - wide[np.arange(len(wide)), true.astype(np.int64)])


def limit(calibration: NDArray[np.float64], coverage: float) -> float:
    """The strangeness that an answer of a set may have.

    Args:
        calibration: strangeness of the true answers of the validation rows.
        coverage: probability that a set holds the true answer.

    Raises:
        RecipeError: the coverage is no share, or needs more validation rows than there were.
    """
    if not 0 < coverage < 1:
        raise RecipeError(
            f"the coverage of sets must be between 0 and 1, got {coverage:g}.", remedy="Give 0.95, say."
        )
    n = len(calibration)
    rank = math.ceil((n + 1) * coverage - 1e-9)
    if rank > n:
        raise RecipeError(
            f"sets with a coverage of {coverage:g} need at least {math.ceil(coverage / (1 - coverage) - 1e-9):,} "
            f"validation rows (or groups of rows), and the run had {n:,}.",
            remedy=f"Ask for {math.floor(100 * n / (n + 1)) / 100:g} at most, or train with more validation rows.",
        )
    return float(np.partition(calibration, rank - 1)[rank - 1])


def holds(sets: PredictionSets, values: NDArray[np.floating], most: float) -> NDArray[np.bool_]:
    """[rows, labels], which labels are in each set.

    Args:
        sets: capability of the task, of kind `labels`.
        values: [rows, labels] probabilities.
        most: from `limit`.
    """
    wide = np.asarray(values, dtype=np.float64)
    inside = 1 - wide <= most
    inside[np.arange(len(wide)), wide.argmax(1)] = True
    return np.asarray(inside)


def entries(
    sets: PredictionSets, values: NDArray[np.floating], most: float, label_schema: LabelSchema
) -> list[JsonObject]:
    """What each prediction gets: `set`, labels with their score, the most probable first; or `interval`.

    Args:
        sets: capability of the task.
        values: [rows, labels] probabilities, or [rows, 1] predicted numbers.
        most: from `limit`.
        label_schema: the task's label schema.
    """
    if sets.kind == "interval":
        return [{"interval": {"low": float(v) - most, "high": float(v) + most}} for v in values[:, 0]]
    labels = label_schema["labels"]
    found = []
    for row, inside in zip(values, holds(sets, values, most), strict=True):
        order = [i for i in np.argsort(-row, kind="stable") if inside[i]]
        found.append({"set": [{"label": labels[i], "score": float(row[i])} for i in order]})
    return found
