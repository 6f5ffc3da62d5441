"""The budget of a search, and how it is divided."""

import math

import pytest

from tunesmith.errors import RecipeError
from tunesmith.recipe import Recipe
from tunesmith.tuning.budget import USUAL_TRIALS, Budget, Division, divide, seconds_in


def recipe(**tune):
    return Recipe.model_validate({"data": {"train": ["x.csv"]}, "tune": tune})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20m", 1200), ("1h30m", 5400), ("90s", 90), ("90", 90), ("1.5h", 5400), (" 2 M ", 120), ("1d", 86_400)],
)
def test_times(text, seconds):
    assert seconds_in(text) == seconds


@pytest.mark.parametrize("text", ["0", "0m", "-5m", "soon", "20 minutes", "", "nan", "inf", "5m later"])
def test_what_is_no_time_is_refused_with_what_to_write(text):
    with pytest.raises(RecipeError, match=r"above zero and like `20m`") as found:
        seconds_in(text)
    assert "--time 20m" in found.value.remedy


def test_without_a_limit_there_are_the_usual_trials():
    assert Budget.of(recipe()) == Budget(USUAL_TRIALS, None)
    assert Budget.of(recipe(time="1m")) == Budget(None, 60)
    assert Budget.of(recipe(time="1m", trials=5)) == Budget(5, 60)


def test_a_time_is_divided_and_the_final_training_has_its_part():
    found = divide(Budget(None, 1200), spent_s=60, full_s=60)
    left = 1200 - 60 - 60
    assert found.coarse_until == 60 + left / 2
    assert found.fine_until == 60 + left * 3 / 4
    assert found.finalists_until == 1200 - 60
    assert divide(Budget(None, 1200), spent_s=60, full_s=60, final_trainings=2).finalists_until == 1200 - 120


def test_a_short_time_has_no_finalists_and_a_very_short_one_no_coarse_stage():
    short = divide(Budget(None, 360), spent_s=60, full_s=60)
    assert short.coarse_until == 60 + 240 / 2
    assert short.fine_until == short.finalists_until == 300
    very_short = divide(Budget(None, 200), spent_s=60, full_s=60)
    assert very_short.coarse_trials == 0
    assert very_short.coarse_until == 60 < very_short.fine_until == 140


@pytest.mark.parametrize("trials", [1, 2, 5, 12, 40, 333])
def test_every_trial_is_counted_once(trials):
    found = divide(Budget(trials, None), spent_s=60, full_s=60)
    assert 1 + found.coarse_trials + found.fine_trials == trials
    assert found.finalists_until == math.inf
    assert Division.from_json(found.to_json()) == found
