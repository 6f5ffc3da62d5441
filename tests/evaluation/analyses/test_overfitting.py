import math

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from tunesmith.evaluation.analyses import ANALYSES
from tunesmith.evaluation.analyses.overfitting import _gap
from tunesmith.evaluation.intervals import Interval
from tunesmith.metrics import METRICS
from tunesmith.testing.answered import answered, random_rows


def rows(n, right, seed):
    return random_rows(n, np.random.default_rng(seed), right=right)


def find(train, validation, test, **known):
    return ANALYSES.get("overfitting").find(
        answered(test, scored={"train": train, "validation": validation}.get, **known)
    )


def test_a_gap_beyond_chance_is_shown_and_a_small_one_is_not():
    shown = find(rows(500, 0.99, 0), rows(200, 0.85, 1), rows(400, 0.85, 2))
    assert shown["outcome"] == "shown"
    assert shown["gap"]["low"] > 0
    assert shown["text"].startswith("overfitting is shown: accuracy is 9")
    assert [part["n"] for part in shown["splits"].values()] == [500, 200, 400]
    calm = find(rows(500, 0.9, 3), rows(200, 0.9, 4), rows(400, 0.9, 5))
    assert calm["outcome"] == "not_shown"
    assert calm["gap"]["low"] <= 0 <= calm["gap"]["high"]
    assert "not shown" in calm["text"]


def test_where_test_rows_are_of_another_kind_the_validation_rows_are_the_new_ones():
    train, validation, test = rows(500, 0.9, 0), rows(400, 0.9, 1), rows(400, 0.5, 2)
    assert find(train, validation, test)["outcome"] == "shown"
    found = find(train, validation, test, metrics={"validation_gap": {"text": "another kind"}})
    assert (found["against"], found["outcome"]) == ("validation", "not_shown")
    assert "on validation rows" in found["text"]


def test_equal_models_show_overfitting_as_seldom_as_the_level_says():
    shown = sum(
        find(rows(200, 0.9, 2 * seed), None, rows(200, 0.9, 2 * seed + 1))["outcome"] == "shown"
        for seed in range(100)
    )
    assert shown <= 8  # one side of a 95 % interval: 2.5 expected


def test_the_interval_is_newcombes():
    counts = ((198, 200), (170, 200))
    wilson = [Interval(k / n, *proportion_confint(k, n, method="wilson")) for k, n in counts]
    found = _gap(METRICS.get("accuracy"), *wilson)
    low, high = confint_proportions_2indep(*counts[0], *counts[1], method="newcomb")
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_of_a_loss_the_lower_is_the_better():
    found = _gap(METRICS.get("loss"), Interval(0.1, 0.08, 0.12), Interval(0.5, 0.4, 0.6))
    assert found.value == pytest.approx(0.4)
    assert found.low == pytest.approx(0.4 - math.hypot(0.02, 0.1))


def test_without_training_rows_nothing_is_said():
    assert find(None, None, rows(100, 0.9, 0)) is None
    assert find(rows(20, 1.1, 0), None, rows(100, 0.9, 0)) is None


def test_a_run_without_test_rows_compares_with_validation():
    validation = rows(200, 0.9, 1)
    found = find(rows(200, 0.9, 0), validation, validation, metrics={"primary": {"split": "validation"}})
    assert set(found["splits"]) == {"train", "validation"}
    assert "validation rows" in found["text"]
