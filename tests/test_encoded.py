import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.encoded import Encoded, Ragged

lists = st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6), max_size=12)


@st.composite
def lists_and_choice(draw):
    """Sequences, and some of their numbers: repeated, out of order, or none."""
    sequences = draw(lists)
    numbers = st.lists(st.integers(0, len(sequences) - 1), max_size=20) if sequences else st.just([])
    return sequences, np.array(draw(numbers), dtype=np.int64)


def back(ragged):
    return [ragged[i].tolist() for i in range(len(ragged))]


@settings(max_examples=80, deadline=None)
@given(lists)
def test_of_lists_and_back(sequences):
    ragged = Ragged.of(sequences)
    assert back(ragged) == sequences
    assert ragged.lengths.tolist() == [len(sequence) for sequence in sequences]
    assert (ragged.values.dtype, ragged.offsets.dtype) == (np.int32, np.int64)
    assert ragged.sums().tolist() == [sum(sequence) for sequence in sequences]


@settings(max_examples=80, deadline=None)
@given(lists_and_choice())
def test_take_is_choosing_from_the_list(drawn):
    sequences, chosen = drawn
    assert back(Ragged.of(sequences).take(chosen)) == [sequences[i] for i in chosen]


@settings(max_examples=80, deadline=None)
@given(st.lists(lists, min_size=1, max_size=5))
def test_join_is_one_after_the_other(parts):
    joined = Ragged.join([Ragged.of(part) for part in parts])
    assert back(joined) == [sequence for part in parts for sequence in part]


def test_sums_of_other_values_of_the_same_shape():
    ragged = Ragged.of([[5, 6], [], [7, 8, 9]])
    assert ragged.sums(ragged.values > 5).tolist() == [1, 0, 3]
    assert ragged.sums(np.array([0.5, 0.25, 1.0, 1.0, 2.0])).tolist() == [0.75, 0, 4.0]


def test_sums_are_those_of_each_sequence_however_many_stand_before_it():
    """Log-likelihoods of a million tokens: a running sum in float32 has lost the digits of the last ones."""
    values = np.random.default_rng(0).normal(-3.0, 1.0, 1_000_000).astype(np.float32)
    ragged = Ragged(values, np.arange(0, 1_000_001, 10))
    expected = values.reshape(-1, 10).astype(np.float64).sum(1)
    assert ragged.sums() == pytest.approx(expected, abs=1e-4)


def test_items_may_be_vectors():
    values = np.arange(10.0).reshape(5, 2)
    ragged = Ragged(values, np.array([0, 2, 2, 5]))
    assert ragged[2].tolist() == values[2:].tolist()
    assert back(ragged.take(np.array([2, 0]))) == [values[2:].tolist(), values[:2].tolist()]
    assert len(Ragged.join([ragged, ragged])) == 6


def windows():
    """Two rows, the first in two windows, with a dense array."""
    return Encoded.of(
        {"input_ids": [[1, 2, 3], [3, 4], [5]], "labels": [[0, 0, 0], [0, 0], [0]]},
        {"weight": [[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]]},
        rows=[0, 0, 1],
        n_rows=2,
        lost={"entities": (1, 7)},
    )


def test_without_rows_each_sequence_is_a_row():
    encoded = Encoded.of({"input_ids": [[1], [2, 3]]})
    assert (len(encoded), encoded.n_rows, encoded.rows.tolist()) == (2, 2, [0, 1])
    assert (encoded.dense, encoded.lost) == ({}, {})


def test_take_keeps_everything_of_a_sequence_together():
    taken = windows().take(np.array([2, 0]))
    assert back(taken.ragged["input_ids"]) == [[5], [1, 2, 3]]
    assert taken.dense["weight"].tolist() == [[4.0, 40.0], [1.0, 10.0]]
    assert (taken.rows.tolist(), taken.n_rows) == ([1, 0], 2)


def test_join_counts_rows_on_and_adds_up_what_is_lost():
    other = Encoded.of(
        {"input_ids": [[9]], "labels": [[0]]},
        {"weight": [[8.0, 80.0]]},
        rows=[1],  # its row 0 has no sequence
        n_rows=2,
        lost={"entities": (2, 3), "answers": (1, 1)},
    )
    joined = Encoded.join([windows(), other, windows()])
    assert back(joined.ragged["input_ids"]) == [[1, 2, 3], [3, 4], [5], [9], [1, 2, 3], [3, 4], [5]]
    assert joined.rows.tolist() == [0, 0, 1, 3, 4, 4, 5]
    assert joined.n_rows == 6
    assert joined.dense["weight"][:, 0].tolist() == [1, 2, 4, 8, 1, 2, 4]
    assert joined.lost == {"entities": (4, 17), "answers": (1, 1)}


@settings(max_examples=60, deadline=None)
@given(lists, st.integers(1, 4))
def test_joining_parts_of_a_whole_gives_the_whole(sequences, n_parts):
    whole = Encoded.of({"input_ids": sequences}, {"labels": list(range(len(sequences)))})
    cuts = np.array_split(np.arange(len(sequences)), n_parts)
    parts = [Encoded.of({"input_ids": [sequences[i] for i in cut]}, {"labels": cut}) for cut in cuts]
    joined = Encoded.join(parts)
    assert back(joined.ragged["input_ids"]) == back(whole.ragged["input_ids"])
    assert joined.dense["labels"].tolist() == list(range(len(sequences)))
    assert joined.rows.tolist() == whole.rows.tolist()
    assert joined.n_rows == whole.n_rows


def test_sums_by_row_hold_zero_for_a_row_without_sequences():
    encoded = Encoded.of({"input_ids": [[1], [2], [3]]}, rows=[0, 0, 2], n_rows=4)
    assert encoded.sum_by_row(np.array([1, 2, 4])).tolist() == [3, 0, 4, 0]
    pairs = np.array([[1, 10], [2, 20], [4, 40]])
    assert encoded.sum_by_row(pairs).tolist() == [[3, 30], [0, 0], [4, 40], [0, 0]]


def test_lengths_are_tokens_the_model_computes():
    """Labels beside each token cost nothing; those a decoder writes, and a rejected answer, do."""
    ids = [[1, 2, 3], [4]]
    assert Encoded.of({"input_ids": ids, "labels": ids}).lengths.tolist() == [3, 1]
    assert Encoded.of({"input_ids": ids, "decoder_labels": [[7, 8], [9, 9]]}).lengths.tolist() == [5, 3]
    pair = {"input_ids": ids, "labels": ids, "rejected_input_ids": [[1], [2, 2]]}
    assert Encoded.of(pair).lengths.tolist() == [4, 3]
    beside = {"input_ids": ids, "token_type_ids": ids, "offsets_of": [[1] * 9] * 2}
    assert Encoded.of(beside).lengths.tolist() == [3, 1]


def test_a_sequence_has_the_same_length_in_every_selection():
    """Plans are made from the lengths of all sequences, and tokens counted from those of some."""
    encoded = Encoded.of({"input_ids": [[1, 2, 3], [4, 5]], "decoder_labels": [[7], [8, 9]]})
    assert encoded.lengths.tolist() == [4, 4]
    assert encoded.take(np.array([1])).lengths.tolist() == [4]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_sums_are_the_same_in_blocks(monkeypatch, dtype):
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 9, n).astype(dtype) for n in rng.integers(0, 5, 50)]
    ragged = Ragged.of(sequences, dtype=dtype)
    whole = ragged.sums()
    monkeypatch.setattr("tunesmith.encoded._BLOCK_SEQUENCES", 7)
    assert ragged.sums().tolist() == whole.tolist() == [s.sum() for s in sequences]
    assert ragged.sums(ragged.values * 2).tolist() == (2 * whole).tolist()
