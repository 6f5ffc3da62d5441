"""Prediction sets: how large they are, and how often they hold the true answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.errors import RecipeError
from tunesmith.evaluation.abstaining import error_bound
from tunesmith.evaluation.analyses import Analysis, Answered
from tunesmith.inference import prediction_sets
from tunesmith.inference.trust import Trust

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import JsonObject

USUAL_COVERAGES = (0.9, 0.95, 0.99)


def _find(answered: Answered) -> JsonObject | None:
    """See `Analysis`: the size and the coverage of the sets, for usual coverages that the rows allow."""
    final = answered.final
    sets, calibration = final.task.sets, Trust.of_model(answered.run.model).strangeness
    if sets is None or calibration is None or answered.scored("validation") is final:
        return None
    values, true = sets.values(final.evaluated), sets.true(final.evaluated)
    found = prediction_sets.strangeness(sets, values, true)
    levels = []
    for coverage in USUAL_COVERAGES:
        try:
            most = prediction_sets.limit(calibration, coverage)
        except RecipeError:
            continue
        levels.append({"coverage": coverage, **_level(answered, found, values, most)})
    return {"kind": sets.kind, "calibration": len(calibration), "levels": levels} if levels else None


def _level(
    answered: Answered, found: NDArray[np.float64], values: NDArray[np.floating], most: float
) -> JsonObject:
    sets = answered.final.task.sets
    assert sets is not None, "looked at before"
    if sets.kind == "interval":
        inside, size = found <= most, 2 * most
    else:
        held = prediction_sets.holds(sets, values, most)
        inside = held[np.arange(len(held)), sets.true(answered.final.evaluated).astype(np.int64)]
        size = float(held.sum(1).mean())
    missed = int((~inside).sum())
    return {
        "achieved": float(inside.mean()),
        "achieved_low": 1 - error_bound(missed, len(inside)),
        "size": size,
    }


analysis = Analysis("size and coverage of prediction sets", _find)
