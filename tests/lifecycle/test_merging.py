"""Which old rows are learned again."""

from collections import Counter

import numpy as np
import pytest

from tunesmith.data.examples import Examples
from tunesmith.errors import RecipeError
from tunesmith.lifecycle.gathering import OldRows
from tunesmith.lifecycle.merging import Merge, old_rows_to_learn
from tunesmith.recipe import Recipe
from tunesmith.tasks import TASKS

RECIPE = Recipe.model_validate({"data": {"train": ["old.csv"]}})


def old_rows(labels, order=None):
    """The rows of a champion; the text of a row does not depend on the order."""
    n = len(labels)
    order = np.arange(n) if order is None else order
    columns = {"text": [f"the text {row}" for row in order], "label": [labels[row] for row in order]}
    examples = Examples(columns, ("old.csv",), np.zeros(n, np.int32), np.arange(n) + 2)
    schema = {"labels": sorted(set(labels))}
    return OldRows(TASKS.get("text-classification"), RECIPE, {"train": examples}, schema)


LABELS = ["rare"] * 10 + ["a"] * 1500 + ["b"] * 1490


def test_all_old_rows_are_learned_by_default():
    assert len(old_rows_to_learn(Merge(), old_rows(LABELS), 100)) == 3000


def test_a_window_has_the_newest_rows_and_some_of_each_label():
    rows = old_rows_to_learn(Merge("window"), old_rows(LABELS), 800)
    assert rows.tolist()[8:] == list(range(800, 3000))
    assert rows.tolist()[:8] == list(range(2, 10))
    assert len(old_rows_to_learn(Merge("window", 500), old_rows(LABELS), 400)) == 100 + 8 + 8


def test_a_replay_is_a_sample_that_does_not_depend_on_the_order_of_the_rows():
    merge, old = Merge("replay", 300), old_rows(LABELS)
    rows = old_rows_to_learn(merge, old, 20)
    counts = Counter(LABELS[row] for row in rows)
    assert counts["rare"] == 8
    assert 300 <= len(rows) <= 308
    assert abs(counts["a"] - counts["b"]) < 60
    order = np.random.default_rng(1).permutation(len(LABELS))
    again = old_rows_to_learn(merge, old_rows(LABELS, order), 20)
    assert sorted(order[again].tolist()) == rows.tolist()


def test_a_replay_grows_with_the_new_rows_and_the_labels():
    assert 500 <= len(old_rows_to_learn(Merge("replay"), old_rows(LABELS), 10)) <= 508
    assert 800 <= len(old_rows_to_learn(Merge("replay"), old_rows(LABELS), 200)) <= 808
    many = [f"label {i % 12}" for i in range(3000)]
    assert len(old_rows_to_learn(Merge("replay"), old_rows(many), 10)) == 1200


def test_what_has_no_meaning_is_refused():
    with pytest.raises(RecipeError, match="`some` is not a way to merge"):
        Merge("some")
    for kind, rows in (("all", 10), ("window", 0)):
        with pytest.raises(RecipeError, match="has no meaning"):
            Merge(kind, rows)
