"""Groups of people: what is shown, what is too small, and when a gap is called one."""

import numpy as np
import pytest

from tunesmith.evaluation.analyses import ANALYSES
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


def test_groups_that_are_all_too_small_are_not_compared():
    found = find(rows_of(40, 0.8, groups=["a"] * 20 + ["b"] * 20))
    assert found["gap"] is None
    assert "too few to be compared" in found["text"]


def test_without_named_groups_nothing_is_said():
    assert FIND(answered(rows_of(60, 0.8, groups=["a"] * 60))) is None
