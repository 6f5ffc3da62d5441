import dataclasses

import numpy as np
import pytest
from transformers import AutoTokenizer

from tunesmith.data import encoding
from tunesmith.data.encoding import encode, encode_splits, with_something_to_learn
from tunesmith.data.examples import Examples
from tunesmith.data.truncation import survey
from tunesmith.encoded import Encoded
from tunesmith.errors import DataError
from tunesmith.tasks import IGNORED, TASKS, EncodeOptions, Task, Windows

TASK = TASKS.get("text-classification")
TARGETS = {"labels": ["x", "y"]}


def examples(texts, pairs=None, labels=None):
    columns = {"text": list(texts), "label": list(labels or ["x"] * len(texts))}
    if pairs is not None:
        columns["text_pair"] = list(pairs)
    return Examples(columns, ("a",), np.zeros(len(texts), np.int32), np.arange(len(texts)))


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


TEXTS = ["the cat is red", "a", "the old new big small otter is here and there"]


def made(data, tokenizer, max_length=None, cache=None, **options):
    return encode(TASK, data, tokenizer, EncodeOptions(max_length, **options), TARGETS, cache)


def rows(encoded: Encoded, name="input_ids"):
    return [encoded.ragged[name][sequence].tolist() for sequence in range(len(encoded))]


def test_ids_are_those_of_the_tokenizer(tokenizer):
    assert rows(made(examples(TEXTS), tokenizer)) == tokenizer(TEXTS)["input_ids"]
    cut = tokenizer(TEXTS, truncation=True, max_length=5)["input_ids"]
    assert rows(made(examples(TEXTS), tokenizer, 5)) == cut


def test_labels_are_inside_and_not_looked_for_to_predict(tokenizer):
    data = examples(TEXTS, labels=["y", "x", "y"])
    for purpose in ("train", "score"):
        assert made(data, tokenizer, purpose=purpose).dense["labels"].tolist() == [1, 0, 1]
    data.columns["label"] = ["never seen"] * 3
    assert made(data, tokenizer, purpose="predict").dense == {}


def test_many_rows_are_encoded_in_chunks(tokenizer, monkeypatch):
    monkeypatch.setattr(encoding, "_CHUNK_ROWS", 2)
    encoded = made(examples(TEXTS, labels=["y", "x", "y"]), tokenizer)
    assert rows(encoded) == tokenizer(TEXTS)["input_ids"]
    assert encoded.dense["labels"].tolist() == [1, 0, 1]
    assert (encoded.rows.tolist(), encoded.n_rows) == ([0, 1, 2], 3)


def test_pairs_have_token_types(tokenizer):
    encoded = made(examples(TEXTS, reversed(TEXTS)), tokenizer)
    theirs = tokenizer(TEXTS, list(reversed(TEXTS)))
    assert rows(encoded) == theirs["input_ids"]
    if "token_type_ids" in tokenizer.model_input_names:
        assert rows(encoded, "token_type_ids") == theirs["token_type_ids"]


def test_a_second_encoding_comes_from_the_store(tokenizer, tmp_path, monkeypatch):
    first = made(examples(TEXTS), tokenizer, cache=tmp_path)
    monkeypatch.setattr(type(TASK), "encode", lambda *_: pytest.fail("encoded again"))
    again = made(examples(TEXTS), tokenizer, cache=tmp_path)
    assert rows(again) == rows(first)
    assert again.dense["labels"].tolist() == first.dense["labels"].tolist()
    assert isinstance(first.ragged["input_ids"].values, np.memmap)


def _cut(data):
    return data[: len(data) // 2]


def _zeroed(data):
    """As a disk gives back what was not yet written when the power went: the right length, and nothing in it."""
    return data[:128] + bytes(len(data) - 128)


@pytest.mark.parametrize("damage", [_cut, _zeroed, lambda data: b""], ids=["cut", "zeroed", "empty"])
@pytest.mark.parametrize(
    "name", ["values.input_ids.npy", "offsets.input_ids.npy", "dense.labels.npy", "rows.npy"]
)
def test_a_damaged_entry_is_encoded_again_with_a_note(tokenizer, tmp_path, name, damage):
    expected = rows(made(examples(TEXTS, labels=["y", "x", "y"]), tokenizer, cache=tmp_path))
    (file,) = (tmp_path / "encoded").glob(f"*/{name}")
    file.write_bytes(damage(file.read_bytes()))
    said = []
    data, options = examples(TEXTS, labels=["y", "x", "y"]), EncodeOptions(None)
    for _ in range(2):
        found = encode(TASK, data, tokenizer, options, TARGETS, tmp_path, said.append)
        assert rows(found) == expected
        assert found.dense["labels"].tolist() == [1, 0, 1]
    (note,) = said
    assert note.endswith("are damaged; the rows are encoded again")


def test_what_is_stored_is_what_was_encoded(tokenizer, tmp_path):
    """Every part of it: windows of rows, dense arrays, a name without a single value, what was lost."""
    data = examples(TEXTS)
    fresh = encode(InWindows(), data, tokenizer, EncodeOptions(6, overlap=1), {})
    for _ in range(2):
        stored = encode(InWindows(), data, tokenizer, EncodeOptions(6, overlap=1), {}, tmp_path)
        assert stored.lost == fresh.lost == {"entities": (1, 3)}
        assert (stored.n_rows, stored.rows.tolist()) == (fresh.n_rows, fresh.rows.tolist())
        assert stored.ragged.keys() == fresh.ragged.keys()
        for name, ragged in fresh.ragged.items():
            assert stored.ragged[name].values.tolist() == ragged.values.tolist()
            assert stored.ragged[name].offsets.tolist() == ragged.offsets.tolist()
        assert {n: a.tolist() for n, a in stored.dense.items()} == {
            n: a.tolist() for n, a in fresh.dense.items()
        }


def test_another_text_tokenizer_or_option_is_another_entry(tokenizer, tmp_path):
    made(examples(TEXTS), tokenizer, cache=tmp_path)
    made(examples(TEXTS[::-1]), tokenizer, cache=tmp_path)
    made(examples(TEXTS), tokenizer, 5, cache=tmp_path)
    made(examples(TEXTS), tokenizer, 5, cache=tmp_path, overlap=2)
    made(examples(TEXTS), tokenizer, 5, cache=tmp_path, purpose="score")
    made(examples(["the cat is red", "at", *TEXTS[2:]]), tokenizer, cache=tmp_path)
    assert len(list((tmp_path / "encoded").iterdir())) == 6


def test_labels_are_part_of_the_key_where_they_are_read(tokenizer, tmp_path):
    one, other = examples(TEXTS), examples(TEXTS, labels=["y"] * 3)
    for data in (one, other):
        made(data, tokenizer, cache=tmp_path, purpose="predict")
    assert len(list((tmp_path / "encoded").iterdir())) == 1
    assert made(one, tokenizer, cache=tmp_path).dense["labels"].tolist() == [0, 0, 0]
    assert made(other, tokenizer, cache=tmp_path).dense["labels"].tolist() == [1, 1, 1]
    assert len(list((tmp_path / "encoded").iterdir())) == 3


def test_targets_are_part_of_the_key(tokenizer, tmp_path):
    data, options = examples(TEXTS), EncodeOptions(None)
    for labels, id_of_x in ((["x", "y"], 0), (["w", "x", "y"], 1)):
        encoded = encode(TASK, data, tokenizer, options, {"labels": labels}, tmp_path)
        assert encoded.dense["labels"].tolist() == [id_of_x] * 3


def test_survey_counts_what_is_lost(tokenizer):
    full = made(examples(TEXTS), tokenizer)
    lengths = [len(ids) for ids in tokenizer(TEXTS)["input_ids"]]
    cut = survey(TASK, full, made(examples(TEXTS), tokenizer, 5), 5)
    assert (cut.rows, cut.rows_cut, cut.rows_windowed, cut.rows_without) == (3, 2, 0, 0)
    assert sum(n > 5 for n in lengths) == 2
    assert cut.tokens == sum(lengths)
    gone = sum(max(n - 5, 0) for n in lengths)
    assert cut.lost == {"tokens": (gone, sum(lengths))}
    assert not cut.is_whole
    share = f"{gone / sum(lengths):.1%}"
    assert str(cut) == (
        f"at max_length 5, 2 of 3 texts (66.7%) are cut, {gone} of {sum(lengths)} tokens ({share}) are lost"
    )
    whole = survey(TASK, full, full, 64)
    assert whole.is_whole
    assert str(whole) == "nothing is truncated at max_length 64"


class InWindows(Task, abstract=True):
    """A label a token, and texts in windows of at most `max_length` that share `overlap` tokens.

    Of the word `otter`, none is an item of the loss.
    """

    name, columns, windows, item = "windows", TASK.columns[:1], Windows(), "words"

    def encode(self, batch, tokenizer, options, label_schema):
        otter = tokenizer.convert_tokens_to_ids("otter")
        ids, rows = [], []
        for row, text in enumerate(tokenizer(batch["text"], add_special_tokens=False)["input_ids"]):
            size = options.max_length or len(text)
            for start in range(0, max(len(text) - options.overlap, 1), size - options.overlap):
                ids.append(text[start : start + size])
                rows.append(row)
        labels = [[IGNORED if token == otter else 0 for token in window] for window in ids]
        return Encoded.of(
            {"input_ids": ids, "labels": labels, "none": [[]] * len(ids)},
            {"starts": np.array(rows) * 2.0},
            rows=rows,
            n_rows=len(batch["text"]),
            lost={"entities": (1, 3)} if options.max_length else None,
        )

    def num_items(self, encoded):
        labels = encoded.ragged["labels"]
        return labels.sums((labels.values != IGNORED).astype(np.int64))


def test_windows_lose_nothing_and_are_told(tokenizer):
    task, data = InWindows(), examples(TEXTS)
    full = encode(task, data, tokenizer, EncodeOptions(None), {})
    cut = encode(task, data, tokenizer, EncodeOptions(6), {})
    found = survey(task, full, dataclasses.replace(cut, lost={}), 6)
    assert (found.rows, found.sequences, found.rows_cut, found.rows_windowed) == (3, 4, 0, 1)
    assert found.is_whole
    assert str(found) == "at max_length 6, 1 of 3 texts are read in windows"
    with_loss = survey(task, full, cut, 6)
    assert not with_loss.is_whole
    assert str(with_loss).endswith("1 of 3 entities (33.3%) are lost")


def test_items_that_are_lost_and_rows_without_any_are_told():
    task = InWindows()
    full = Encoded.of({"input_ids": [[1] * 6, [1] * 2], "labels": [[IGNORED, 0, 0, 0, 0, 0], [0, 0]]})
    cut = Encoded.of({"input_ids": [[1], [1]], "labels": [[IGNORED], [0]]})
    found = survey(task, full, cut, 1)
    assert (found.rows_without, found.lost) == (1, {"words": (6, 7)})
    assert "1 rows have nothing left to learn from" in str(found)
    assert not found.is_whole


def test_sequences_without_an_item_are_left_out_of_training():
    labels = [[IGNORED, IGNORED], [IGNORED, 0], [IGNORED]]
    encoded = Encoded.of({"input_ids": labels, "labels": labels})
    assert with_something_to_learn(InWindows(), encoded).rows.tolist() == [1]
    whole = encoded.take(np.array([1]))
    assert with_something_to_learn(InWindows(), whole) is whole


def test_a_split_with_nothing_to_learn_from_is_refused(tokenizer, tmp_path):
    splits = {"train": examples(TEXTS), "test": examples(["otter", "otter otter"])}
    with pytest.raises(DataError, match="none of the 2 test rows has words"):
        encode_splits(
            InWindows(), splits, tokenizer, {}, choose_max_length=lambda _: 64, overlap=0, cache=tmp_path
        )


@pytest.mark.parametrize(("overlap", "used"), [(None, 2), (0, 0), (3, 3)])
def test_windows_share_a_quarter_or_what_is_asked(tokenizer, tmp_path, overlap, used):
    task, splits = InWindows(), {"train": examples(TEXTS)}
    found = encode_splits(
        task, splits, tokenizer, {}, choose_max_length=lambda _: 8, overlap=overlap, cache=tmp_path
    )
    expected = encode(task, splits["train"], tokenizer, EncodeOptions(8, "train", used), {})
    assert rows(found.splits["train"]) == rows(expected)
    assert found.longest == 8


def test_splits_share_one_max_length(tokenizer, tmp_path):
    splits = {"train": examples(TEXTS[:2]), "test": examples(TEXTS[2:])}
    seen = []
    encoded = encode_splits(
        TASK,
        splits,
        tokenizer,
        TARGETS,
        choose_max_length=lambda longest: seen.append(longest) or 6,
        overlap=None,
        cache=tmp_path,
    )
    assert seen == [len(tokenizer(TEXTS[2])["input_ids"])]
    assert encoded.max_length == encoded.longest == 6
    assert encoded.truncation["test"].rows_cut == 1


def test_take_picks_rows_in_order(tokenizer):
    encoded = made(examples(TEXTS), tokenizer)
    assert rows(encoded.take(np.array([2, 0, 2]))) == [rows(encoded)[i] for i in (2, 0, 2)]


def test_parts_in_the_store_are_what_they_are_together(tokenizer, tmp_path, monkeypatch):
    """Chunk by chunk onto the disk, as a million rows are, and all at once."""
    data = examples(
        [f"{'the cat is red ' * (i % 3)}dog {i % 7}" for i in range(25)], labels=["x", "y"] * 12 + ["x"]
    )
    monkeypatch.setattr("tunesmith.data.encoding._CHUNK_ROWS", 4)
    whole = encode(InWindows(), data, tokenizer, EncodeOptions(6, overlap=1), {})
    stored = encode(InWindows(), data, tokenizer, EncodeOptions(6, overlap=1), {}, tmp_path)
    assert (stored.n_rows, stored.lost, stored.rows.tolist()) == (
        whole.n_rows,
        whole.lost,
        whole.rows.tolist(),
    )
    for name, ragged in whole.ragged.items():
        assert stored.ragged[name].offsets.tolist() == ragged.offsets.tolist()
        assert stored.ragged[name].values.tolist() == ragged.values.tolist()
    assert {n: a.tolist() for n, a in stored.dense.items()} == {n: a.tolist() for n, a in whole.dense.items()}
    assert not [path for path in (tmp_path / "encoded").iterdir() if path.name.startswith(".new")]
