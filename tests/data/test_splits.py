import hashlib
import json
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.examples import Examples
from tunesmith.data.splits import hold_out, normalised, overlap, text_keys
from tunesmith.errors import DataError


def examples(texts, labels, groups=None):
    n = len(texts)
    columns = {"text": list(texts), "label": list(labels)}
    extra = {"group": list(groups)} if groups is not None else {}
    return Examples(columns, ("a",), np.zeros(n, np.int32), np.arange(n), extra)


def deal(data, share=0.2, seed=1, **how):
    how = {"strata": ["label"], "group_by": None, "purpose": "validation", **how}
    return hold_out(data, share, seed=seed, **how)


def test_shares_are_exact_and_stratified():
    labels = ["a"] * 100 + ["b"] * 50 + ["c"] * 10
    data = examples([f"text {i}" for i in range(160)], labels)
    kept, held = deal(data)
    assert sorted([*kept, *held]) == list(range(160))
    assert Counter(labels[i] for i in held) == {"a": 20, "b": 10, "c": 2}


def test_the_deal_is_a_function_of_the_seed_and_purpose():
    data = examples([f"text {i}" for i in range(100)], ["a", "b"] * 50)
    assert deal(data)[1].tolist() == deal(data)[1].tolist()
    assert deal(data)[1].tolist() != deal(data, seed=2)[1].tolist()
    assert deal(data)[1].tolist() != deal(data, purpose="test")[1].tolist()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from("abc"), st.integers(0, 8)), min_size=30, max_size=120
    )
)
def test_no_group_and_no_text_ever_crosses(rows):
    data = examples([f"Text {t}" for t, _, _ in rows], [r for _, r, _ in rows], [g for _, _, g in rows])
    try:
        kept, held = deal(data, 0.3, group_by="group")
    except DataError:
        return  # all rows hang together
    keys = text_keys(data)
    assert not {keys[i] for i in kept} & {keys[i] for i in held}
    groups = data.extra["group"]
    assert not {groups[i] for i in kept} & {groups[i] for i in held}
    assert sorted([*kept, *held]) == list(range(len(rows)))


def test_the_last_row_of_a_label_stays_in_training():
    data = examples([f"text {i}" for i in range(21)], ["a"] * 20 + ["rare"])
    assert 20 in deal(data)[0]


def test_copies_stay_together_whatever_their_case_and_blanks():
    texts = [f"text {i}" for i in range(40)] + ["Text  3", "TEXT 7 "]
    kept, held = deal(examples(texts, ["a", "b"] * 21), 0.4)
    for pair in ((3, 40), (7, 41)):
        assert len({row in set(held.tolist()) for row in pair}) == 1
    assert len(kept) + len(held) == 42
    assert normalised("  Ａ  b\n") == "a b"


def test_an_empty_side_is_an_error():
    with pytest.raises(DataError, match="leaves a side empty"):
        deal(examples(["one", "two"], ["a", "b"]), 0.1)


def test_overlap_finds_copies_in_another_split():
    one, other = examples(["a", "B", "c"], "xyz"), examples(["b", "d"], "xy")
    assert overlap(one, other).tolist() == [1]


@pytest.mark.parametrize(
    ("group_by", "n_held", "digest"), [(None, 61, "ce5e0c1d693916d2"), ("group", 66, "e4a03ddd9bf32837")]
)
def test_the_same_rows_are_held_out_as_ever(group_by, n_held, digest):
    """As the first version dealt them, row by row: a run that goes on finds its splits again."""
    texts = [f"Text {i * i % 211}" for i in range(300)]
    labels = ["abc"[i * 7 % 5 % 3] for i in range(300)]
    groups = [None if i % 4 else str(i % 60) for i in range(300)]
    held = deal(examples(texts, labels, groups), group_by=group_by)[1]
    assert len(held) == n_held
    assert hashlib.sha256(json.dumps(held.tolist()).encode()).hexdigest().startswith(digest)


def test_normalising_ascii_is_no_other_than_normalising():
    text = "".join(map(chr, range(128))) * 2
    assert normalised(text) == " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@pytest.mark.parametrize("seed", range(50))
def test_a_label_with_one_row_within_a_group_stays_in_training(seed):
    """One row of `rare` in a group that would be held out for its other rows."""
    labels = ["a", "b"] * 30
    labels[17] = "rare"
    groups = [f"group {i // 3}" for i in range(60)]
    kept, held = deal(
        examples([f"text {i}" for i in range(60)], labels, groups), 0.3, seed=seed, group_by="group"
    )
    assert {labels[i] for i in kept} == {"a", "b", "rare"}
    assert len(held) >= 6


def test_labels_of_few_rows_do_not_make_half_of_the_rows_held_out():
    labels = [f"label {i // 2}" for i in range(400)]
    kept, held = deal(examples([f"text {i}" for i in range(400)], labels), 0.1)
    assert len(held) == 60, "half as many again as the 40 that were asked for"
    assert len({labels[i] for i in held}) == 60
    assert {labels[i] for i in kept} == set(labels)


def test_a_rare_label_beside_large_ones_is_still_scored():
    labels = ["a"] * 500 + ["b"] * 500 + ["rare"] * 3
    _, held = deal(examples([f"text {i}" for i in range(1003)], labels), 0.1)
    assert Counter(labels[i] for i in held) == {"a": 50, "b": 50, "rare": 1}


def test_rows_without_a_value_do_not_hang_together():
    data = examples([f"text {i}" for i in range(40)], ["a", "b"] * 20)
    data.columns["document"] = [None] * 20 + ["one"] * 3 + [""] * 17
    _, held = deal(data, 0.25, together=["document"])
    assert len(held) == 10
    assert len({row in set(held.tolist()) for row in (20, 21, 22)}) == 1
