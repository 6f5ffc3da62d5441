"""Folds of the training rows."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.examples import Examples
from tunesmith.data.folds import deal_into_folds, read_fold
from tunesmith.errors import DataError, RecipeError


def examples(texts, labels, groups=None):
    columns = {"text": list(texts), "label": list(labels)}
    extra = {"group": list(groups)} if groups is not None else {}
    n = len(columns["text"])
    return Examples(columns, ("a",), np.zeros(n, np.int32), np.arange(n), extra)


def deal(data, n=5, seed=1, group_by=None):
    return deal_into_folds(data, n, strata=["label"], group_by=group_by, seed=seed)


def test_each_label_is_equally_frequent_in_all_parts():
    labels = ["a"] * 103 + ["b"] * 52 + ["c"] * 5
    folds = deal(examples([f"text {i}" for i in range(160)], labels))
    for label, least, most in (("a", 20, 21), ("b", 10, 11), ("c", 1, 1)):
        counts = Counter(folds[i] for i in range(160) if labels[i] == label)
        assert set(counts) == {1, 2, 3, 4, 5}
        assert least <= min(counts.values()) <= max(counts.values()) <= most
    assert {int(size) for size in np.bincount(folds)[1:]} <= {31, 32, 33}


def test_the_parts_depend_on_the_seed():
    data = examples([f"text {i}" for i in range(100)], ["a", "b"] * 50)
    assert deal(data).tolist() == deal(data).tolist()
    assert deal(data).tolist() != deal(data, seed=2).tolist()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefghijklmnop"), st.sampled_from("xyz"), st.integers(0, 12)),
        min_size=40,
    ),
    st.integers(2, 4),
)
def test_groups_and_equal_texts_stay_whole(rows, n):
    texts, labels, groups = zip(*rows, strict=True)
    data = examples(texts, labels, groups)
    try:
        folds = deal(data, n, group_by="group")
    except DataError:
        return  # too few units
    assert set(folds) <= set(range(1, n + 1))
    for key in (texts, groups):
        found = {}
        for value, fold in zip(key, folds, strict=True):
            assert found.setdefault(value, fold) == fold


def test_too_few_texts_are_refused():
    with pytest.raises(DataError, match="3 texts or groups"):
        deal(examples(["one", "two", "three", "one"], "aabb"), 4)


@pytest.mark.parametrize("text", ["6/5", "0/5", "1/1", "half", "2", "2/5/1"])
def test_a_part_that_does_not_exist_is_refused(text):
    with pytest.raises(RecipeError, match=r"data\.fold"):
        read_fold(text)
