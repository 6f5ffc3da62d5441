from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.batches import collate
from tunesmith.data.packing import best_fit, pack, packed_length
from tunesmith.encoded import Encoded
from tunesmith.inference.forward import forward
from tunesmith.tasks import IGNORED, TASKS

SIZE = 40
lengths_of_items = st.lists(st.integers(1, SIZE), min_size=1, max_size=80).map(np.array)


@settings(max_examples=100, deadline=None)
@given(lengths_of_items)
def test_every_item_once_and_no_group_above_the_size(lengths):
    groups = best_fit(lengths, SIZE)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lengths)))
    assert all(lengths[group].sum() <= SIZE for group in groups)


@settings(max_examples=100, deadline=None)
@given(lengths_of_items)
def test_no_two_groups_would_fit_into_one(lengths):
    """So all but one are more than half full."""
    full = sorted(int(lengths[group].sum()) for group in best_fit(lengths, SIZE))
    assert len(full) == 1 or full[0] + full[1] > SIZE


def fewest_groups(lengths, size):
    """By trying everything."""
    best = len(lengths)

    def location(item, free):
        nonlocal best
        if len(free) >= best:
            return
        if item == len(lengths):
            best = len(free)
            return
        for group in range(len(free)):
            if free[group] >= lengths[item]:
                location(item + 1, [*free[:group], free[group] - lengths[item], *free[group + 1 :]])
        location(item + 1, [*free, size - lengths[item]])

    location(0, [])
    return best


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=8).map(np.array))
def test_it_is_as_near_to_the_fewest_groups_as_the_bound_says(lengths):
    """Johnson 1973: at most 11/9 of the fewest, and one more."""
    assert len(best_fit(lengths, 12)) <= 11 / 9 * fewest_groups(lengths.tolist(), 12) + 1


def test_the_longest_first_each_where_it_fits_best():
    groups = best_fit(np.array([2, 7, 3, 5, 6]), 10)
    assert [group.tolist() for group in groups] == [[1, 2], [4, 0], [3]]


def test_an_item_above_the_size_stands_alone():
    groups = best_fit(np.array([3, 50, 4]), 10)
    assert [group.tolist() for group in groups] == [[1], [2, 0]]


def texts(n=9, seed=0):
    rng = np.random.default_rng(seed)
    ids = [rng.integers(1, 50, rng.integers(2, 12)).tolist() for _ in range(n)]
    return Encoded.of({"input_ids": ids, "labels": ids})


def parts_of(packed):
    """The texts of packed sequences: their ids and labels."""
    found = []
    for sequence in range(len(packed)):
        positions = packed.ragged["position_ids"][sequence]
        starts = [*np.flatnonzero(positions == 0), len(positions)]
        for start, end in pairwise(starts):
            assert positions[start:end].tolist() == list(range(end - start))
            both = (packed.ragged[name][sequence] for name in ("input_ids", "labels"))
            found.append([values[start:end].tolist() for values in both])
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 25), st.integers(0, 1000))
def test_packed_texts_are_whole_and_their_first_token_is_no_target(n, seed):
    encoded = texts(n, seed)
    packed = pack(encoded, 24)
    assert packed.lengths.max() <= 24
    assert packed.ragged["labels"].offsets.tolist() == packed.ragged["input_ids"].offsets.tolist()
    expected = [encoded.ragged["input_ids"][i].tolist() for i in range(n)]
    assert sorted(parts_of(packed)) == sorted([ids, [IGNORED, *ids[1:]]] for ids in expected)


def test_a_packed_sequence_says_of_which_row_its_first_text_is():
    encoded = Encoded.of(
        {"input_ids": [[1], [2] * 5, [3] * 9], "labels": [[1], [2] * 5, [3] * 9]}, rows=[0, 4, 7], n_rows=8
    )
    packed = pack(encoded, 10)
    assert packed.rows.tolist() == [7, 4]
    assert packed.n_rows == 8


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", [name for name in TASKS.names() if TASKS.get(name).packing])
def test_the_loss_of_packed_texts_is_that_of_the_texts_alone(name, attention):
    """No token sees another text; nor does padding, which stands behind the last text."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=50, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
                         num_attention_heads=2, max_position_embeddings=32)  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.set_attn_implementation(attention)

    class Next(type(TASKS.get(name))):
        outputs_per_token = True

        def forward_items(self, model, batch):
            return self.forward(model, batch)

        def select_outputs(self, outputs, batch):
            return outputs

    encoded = texts()
    alone = forward(Next(), model, encoded, pad_token_id=0)
    packed = pack(encoded, 24)
    together = forward(Next(), model, packed, pad_token_id=0)
    assert len(packed) < len(encoded)
    by_ids = {tuple(encoded.ragged["input_ids"][i].tolist()): alone[i] for i in range(len(encoded))}
    assert len(by_ids) == len(encoded)
    for sequence in range(len(packed)):
        ids, positions = (packed.ragged[name][sequence] for name in ("input_ids", "position_ids"))
        starts = [*np.flatnonzero(positions == 0), len(positions)]
        for start, end in pairwise(starts):
            expected = by_ids[tuple(ids[start:end].tolist())]
            assert np.allclose(together[sequence][start:end], expected, atol=1e-5)

    def loss(sequences):
        batch = collate(sequences, pad_token_id=0)
        logits = Next().forward(model, batch)[:, :-1].flatten(0, 1)
        return torch.nn.functional.cross_entropy(logits, batch["labels"][:, 1:].flatten(), reduction="sum")

    with torch.no_grad():
        assert float(loss(packed)) == pytest.approx(float(loss(encoded)), rel=1e-5)


def test_a_packed_sequence_is_as_long_as_nearly_every_text_needs():
    short = np.full(100, 40)
    assert packed_length(short, 1024) == 256
    assert packed_length(short, 128) == 128
    few_long = np.concatenate([np.full(97, 300), np.full(3, 900)])
    assert packed_length(few_long, 1024) == 300
    assert packed_length(np.full(100, 2000), 1024) == 1024
    assert packed_length(np.array([], dtype=np.int64), 1024) == 1024


def test_longer_texts_stay_alone():
    groups = best_fit(np.array([900, 100, 150, 300]), 256)
    assert sorted(sorted(group.tolist()) for group in groups) == [[0], [1, 2], [3]]
