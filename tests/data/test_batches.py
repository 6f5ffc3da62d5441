import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.batches import (
    collate,
    cut_by_tokens,
    cut_to_fit,
    plan_epoch,
    plan_in_order,
    split_batch,
    tokens_for_rows,
)
from tunesmith.encoded import Encoded
from tunesmith.tasks import IGNORED

lengths_of_rows = st.lists(st.integers(1, 60), min_size=1, max_size=200).map(np.array)


def padded(lengths, batches):
    return sum(int(lengths[b].max()) * len(b) for b in batches)


@settings(max_examples=60, deadline=None)
@given(lengths_of_rows, st.integers(1, 300), st.integers(0, 5))
def test_every_row_once_and_no_batch_above_the_budget(lengths, budget, seed):
    batches = plan_epoch(lengths, rng=np.random.default_rng(seed), tokens_per_batch=budget)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or lengths[batch].max() * len(batch) <= budget


@settings(max_examples=30, deadline=None)
@given(lengths_of_rows, st.integers(1, 50))
def test_batches_of_rows_are_full_but_one(lengths, rows):
    sizes = sorted(len(b) for b in plan_epoch(lengths, rng=np.random.default_rng(0), rows_per_batch=rows))
    assert sum(sizes) == len(lengths)
    assert all(size == rows for size in sizes[1:])


def test_the_plan_is_a_function_of_the_generator_and_epochs_differ():
    lengths = np.random.default_rng(0).integers(5, 40, 500)
    one, again, other = (
        plan_epoch(lengths, rng=np.random.default_rng(s), tokens_per_batch=400) for s in (1, 1, 2)
    )
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert {tuple(sorted(b)) for b in one} != {tuple(sorted(b)) for b in other}


def test_most_tokens_are_real():
    lengths = np.random.default_rng(0).lognormal(2.7, 0.5, 5000).astype(int) + 3
    batches = plan_epoch(lengths, rng=np.random.default_rng(0), tokens_per_batch=tokens_for_rows(lengths, 32))
    assert lengths.sum() / padded(lengths, batches) > 0.85
    plain = [np.arange(5000)[i : i + 32] for i in range(0, 5000, 32)]
    assert lengths.sum() / padded(lengths, plain) < 0.6


def test_in_order_begins_with_the_longest():
    lengths = np.array([3, 9, 1, 9])
    batches = plan_in_order(lengths, 18)
    assert batches[0].tolist() == [1, 3]
    assert sorted(np.concatenate(batches).tolist()) == [0, 1, 2, 3]


def test_a_row_longer_than_the_budget_stands_alone():
    assert [b.tolist() for b in cut_by_tokens(np.array([50, 2, 2]), np.array([0, 1, 2]), 10)] == [[0], [1, 2]]


@pytest.mark.parametrize("side", ["right", "left"])
def test_collate_pads_and_masks(side):
    encoded = Encoded.of({"input_ids": [[7, 8], [1, 2, 3]]}, {"labels": [4, 5]})
    batch = collate(encoded.take(np.array([1, 0])), pad_token_id=9, padding_side=side)
    short = [7, 8, 9] if side == "right" else [9, 7, 8]
    assert batch["input_ids"].tolist() == [[1, 2, 3], short]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [int(token != 9) for token in short]]
    assert batch["labels"].tolist() == [5, 4]


def test_each_name_has_its_padding_and_its_mask():
    """A decoder's labels have a length of their own, and so has the rejected answer of a pair."""
    encoded = Encoded.of({
        "input_ids": [[7, 8], [1]],
        "token_type_ids": [[0, 1], [1]],
        "labels": [[3], [4, 5, 6]],
        "rejected_input_ids": [[2, 2, 2], [6]],
        "rejected_labels": [[2, 2, 2], [6]],
    })  # fmt: skip
    batch = collate(encoded, pad_token_id=9)
    assert {name: tensor.tolist() for name, tensor in batch.items()} == {
        "input_ids": [[7, 8], [1, 9]],
        "attention_mask": [[1, 1], [1, 0]],
        "token_type_ids": [[0, 1], [1, 0]],
        "labels": [[3, IGNORED, IGNORED], [4, 5, 6]],
        "rejected_input_ids": [[2, 2, 2], [6, 9, 9]],
        "rejected_attention_mask": [[1, 1, 1], [1, 0, 0]],
        "rejected_labels": [[2, 2, 2], [6, IGNORED, IGNORED]],
    }


def test_packed_sequences_get_no_mask():
    encoded = Encoded.of({"input_ids": [[7, 8, 9], [1]], "position_ids": [[0, 1, 0], [0]]})
    batch = collate(encoded, pad_token_id=9)
    assert "attention_mask" not in batch
    assert batch["position_ids"].tolist() == [[0, 1, 0], [0, 0, 0]]


def test_parts_are_nearly_equal_and_complete():
    parts = split_batch(np.arange(11), 4)
    assert [len(p) for p in parts] == [3, 3, 3, 2]
    assert np.concatenate(parts).tolist() == list(range(11))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 4), st.integers(1, 300))
def test_a_batch_is_cut_into_as_few_passes_as_fit(lengths, parts, most):
    lengths = np.array(lengths)
    cut = cut_to_fit(lengths, parts, most)
    assert np.concatenate(cut).tolist() == list(range(len(lengths)))
    assert len(cut) % parts == 0

    def fits(pieces):
        return all(len(p) <= 1 or len(p) * lengths[p].max() <= most for p in pieces)

    assert fits(cut)
    fewer = len(cut) - parts
    assert fewer == 0 or not all(
        len(p) * lengths[p].max(initial=0) <= most for p in np.array_split(np.arange(len(lengths)), fewer)
    )
    whole = cut_to_fit(lengths, parts, None)
    assert [p.tolist() for p in whole] == [p.tolist() for p in np.array_split(np.arange(len(lengths)), parts)]


def test_batches_of_one_length_need_no_padding():
    lengths = np.array([3, 5, 3, 4, 5, 3, 3])
    batches = plan_in_order(lengths, 9, same_length=True)
    assert [sorted(lengths[batch].tolist()) for batch in batches] == [[5], [5], [4], [3, 3, 3], [3]]
    assert sorted(np.concatenate(batches).tolist()) == list(range(7))


def test_a_batch_has_no_more_padding_than_is_said():
    lengths = np.array([50, 49, 48, 20, 19, 5, 5, 5, 900])
    batches = plan_in_order(lengths, 1000, most_padding=10)
    assert [lengths[batch].tolist() for batch in batches] == [[900], [50, 49, 48], [20, 19], [5, 5, 5]]
    assert [len(batch) for batch in plan_in_order(lengths, 1000)] == [1, 8]
