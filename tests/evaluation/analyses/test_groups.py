"""Groups of people: what is shown, what is too small, and when a gap is called one."""

import numpy as np
import pytest
from scipy.stats import norm

from tunesmith.evaluation.analyses import ANALYSES
from tunesmith.evaluation.analyses.groups import _gap
from tunesmith.evaluation.intervals import Interval
from tunesmith.testing.answered import answered, classified, random_texts

FIND = ANALYSES.get("groups").find


def rows_of(n, right, *, groups, seed=0, **how):
    rng = np.random.default_rng(seed)
    return classified(
        random_texts(n, rng), rng.integers(2, size=n), rng.random(n) < right, names=("no", "yes"),
        extra={"dialect": groups}, **how,
    )  # fmt: skip


def find(final):
    found = answered(final)
    how = found.how.model_copy(update={"groups": ["dialect"]})
    from dataclasses import replace

    return FIND(replace(found, how=how))["dialect"]


def test_a_group_that_is_worse_is_said_to_be_with_its_gap():
    groups = ["north"] * 400 + ["south"] * 200 + ["islands"] * 9
    right = np.where(np.arange(609) < 400, 0.95, 0.7)
    found = find(rows_of(609, right, groups=groups))
    assert list(found["groups"]) == ["north", "south", "islands"]
    assert found["groups"]["islands"]["too_small"]
    gap = found["gap"]
    assert (gap["best"], gap["worst"], gap["is_shown"]) == ("north", "south", True)
    assert gap["low"] < gap["value"] < gap["high"]
    assert gap["value"] == pytest.approx(
        found["groups"]["north"]["value"] - found["groups"]["south"]["value"]
    )
    assert found["text"].startswith("accuracy of `south` is worse than of `north` by")
    assert set(found["labels"]) == {"no", "yes"}
    assert set(found["labels"]["yes"]["groups"]) == {"north", "south"}
    assert found["labels"]["yes"]["equalized_odds_difference"] > 0.1


def test_a_gap_that_chance_makes_is_not_called_one():
    shown = 0
    for seed in range(30):
        groups = [f"g{i % 5}" for i in range(500)]
        shown += find(rows_of(500, 0.8, groups=groups, seed=seed))["gap"]["is_shown"]
    assert shown <= 4


def test_the_interval_and_the_sentence_agree_and_hold_for_all_differences():
    said = []
    for of_one in (0.6, 0.85):
        groups = [f"g{i % 6}" for i in range(600)]
        found = find(rows_of(600, np.where(np.arange(600) % 6 == 0, of_one, 0.85), groups=groups))
        gap = found["gap"]
        assert gap["differences"] == 15
        assert gap["is_shown"] == (gap["low"] > 0) == ("chance may explain" not in found["text"])
        said.append(gap["is_shown"])
        alone = [found["groups"][gap[end]] for end in ("best", "worst")]
        plain = np.hypot(alone[0]["value"] - alone[0]["low"], alone[1]["high"] - alone[1]["value"])
        # Bonferroni for 15 two-sided differences at 95 %.
        assert gap["value"] - gap["low"] == pytest.approx(plain * norm.isf(0.025 / 15) / norm.isf(0.025))
    assert said == [True, False]


def test_a_sure_gap_is_not_hidden_by_a_larger_one_between_small_groups():
    values = {
        "large": Interval(0.9, 0.88, 0.92), "worse": Interval(0.7, 0.68, 0.72), "small": Interval(0.65, 0.4, 0.9),
    }  # fmt: skip
    gap = _gap("accuracy", values, 0.95)
    assert (gap["best"], gap["worst"], gap["is_shown"]) == ("large", "worse", True)
    del values["worse"]
    gap = _gap("accuracy", values, 0.95)
    assert (gap["worst"], gap["is_shown"]) == ("small", False)


def test_for_a_loss_the_best_group_has_the_least():
    gap = _gap("loss", {"a": Interval(1.0, 0.9, 1.1), "b": Interval(2.0, 1.9, 2.1)}, 0.95)
    assert (gap["best"], gap["worst"], gap["value"]) == ("a", "b", 1.0)


def test_groups_that_are_all_too_small_are_not_compared():
    found = find(rows_of(40, 0.8, groups=["a"] * 20 + ["b"] * 20))
    assert found["gap"] is None
    assert "too few to be compared" in found["text"]


def test_without_named_groups_nothing_is_said():
    assert FIND(answered(rows_of(60, 0.8, groups=["a"] * 60))) is None
