"""How long a search may take: a number of trials, a time, or both, and how it is divided among the stages.

The time is that of the whole search, with the default recipe before it and the final training after it. Of what is
left, half goes to the coarse stage, and a quarter to other seeds of the finalists; if there is little time, none.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tunesmith.recipe import Recipe, durations

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

USUAL_TRIALS = 40
"""Trials of a search that says neither a number nor a time."""

_COARSE_SHARE, _FINALISTS_SHARE = 0.5, 0.25
_MOST_TRIALS = 10_000
_FEWEST_TRIALS = 4
_FEWEST_FOR_COARSE, _FEWEST_FOR_FINALISTS = 2, 6
"""Trainings on all rows for which there must be time; with less, a stage is left out."""


@dataclass(frozen=True)
class Budget:
    """The limits of a search.

    Args:
        trials: number of trials; None without a limit.
        seconds: time of the whole search; None without a limit.
    """

    trials: int | None
    seconds: float | None

    @classmethod
    def of(cls, recipe: Recipe) -> Budget:
        """The budget that a recipe names, or the usual one.

        Raises:
            RecipeError: the time is not a time.
        """
        seconds = None if recipe.tune.time is None else seconds_in(recipe.tune.time)
        trials = recipe.tune.trials
        return cls(USUAL_TRIALS if trials is None and seconds is None else trials, seconds)


@dataclass(frozen=True)
class Division:
    """How a budget is divided, once the time of a full training is known.

    Args:
        coarse_trials: most trials of the coarse stage.
        fine_trials: most trials of the fine stage.
        coarse_until: seconds since the search began at which the coarse stage ends; infinite without a limit.
        fine_until: seconds at which the fine stage ends.
        finalists_until: seconds after which no other seed of a finalist begins.
    """

    coarse_trials: int
    fine_trials: int
    coarse_until: float
    fine_until: float
    finalists_until: float

    def to_json(self) -> JsonObject:
        """The content for search.json; no limit of time is None."""
        return {key: None if value == math.inf else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, found: JsonObject) -> Division:
        """The division that `to_json` wrote."""
        values: JsonObject = {key: math.inf if value is None else value for key, value in found.items()}
        return cls(**values)


def seconds_in(text: str) -> float:
    """The seconds of a time of a search: `20m`, `1h30m` or `90s`; a number alone is seconds.

    Raises:
        RecipeError: it is none of these, or zero.
    """
    remedy = "Give `--time 20m`, or a number of trials with `--trials`."
    return durations.seconds_in(text, what="the time of a search", remedy=remedy)


def divide(budget: Budget, spent_s: float, full_s: float, final_trainings: int = 1) -> Division:
    """Divides a budget among the stages.

    Args:
        budget: limits of the search.
        spent_s: seconds since the search began, the training of the default recipe included.
        full_s: seconds of a training of the default recipe on all rows.
        final_trainings: number of trainings after the search.
    """
    final_s = final_trainings * full_s
    left = math.inf if budget.seconds is None else budget.seconds - spent_s - final_s
    coarse, fine = _trials(budget, can_be_coarse=left >= _FEWEST_FOR_COARSE * full_s)
    if left == math.inf:
        return Division(coarse, fine, left, left, left)
    finalists_s = _FINALISTS_SHARE * left if left >= _FEWEST_FOR_FINALISTS * full_s else 0.0
    until_coarse = spent_s + (_COARSE_SHARE * left if coarse else 0.0)
    return Division(coarse, fine, until_coarse, spent_s + left - finalists_s, spent_s + left)


def _trials(budget: Budget, *, can_be_coarse: bool) -> tuple[int, int]:
    """The most trials of the coarse and of the fine stage; the default recipe is one of all trials."""
    if budget.trials is None:
        return (_MOST_TRIALS if can_be_coarse else 0), _MOST_TRIALS
    after_default = budget.trials - 1
    coarse = round(2 / 3 * after_default) if can_be_coarse and after_default >= _FEWEST_TRIALS else 0
    return coarse, after_default - coarse
