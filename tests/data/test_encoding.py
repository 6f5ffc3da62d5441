import numpy as np
import pytest
from transformers import AutoTokenizer

from tunesmith.data.encoding import Encoded, encode, encode_splits, survey
from tunesmith.data.examples import Examples
from tunesmith.tasks import TASKS

TASK = TASKS.get("text-classification")


def examples(texts, pairs=None):
    columns = {"text": list(texts), "label": ["x"] * len(texts)}
    if pairs is not None:
        columns["text_pair"] = list(pairs)
    return Examples(columns, ("a",), np.zeros(len(texts), np.int32), np.arange(len(texts)))


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


TEXTS = ["the cat is red", "a", "the old new big small otter is here and there"]


def rows(encoded: Encoded, name="input_ids"):
    return [
        encoded.fields[name][a:b].tolist()
        for a, b in zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True)
    ]


def test_ids_are_those_of_the_tokenizer(tokenizer):
    assert rows(encode(TASK, examples(TEXTS), tokenizer, None)) == tokenizer(TEXTS)["input_ids"]
    cut = tokenizer(TEXTS, truncation=True, max_length=5)["input_ids"]
    assert rows(encode(TASK, examples(TEXTS), tokenizer, 5)) == cut


def test_pairs_have_token_types(tokenizer):
    encoded = encode(TASK, examples(TEXTS, reversed(TEXTS)), tokenizer, None)
    theirs = tokenizer(TEXTS, list(reversed(TEXTS)))
    assert rows(encoded) == theirs["input_ids"]
    if "token_type_ids" in tokenizer.model_input_names:
        assert rows(encoded, "token_type_ids") == theirs["token_type_ids"]


def test_a_second_encoding_comes_from_the_store(tokenizer, tmp_path, monkeypatch):
    first = encode(TASK, examples(TEXTS), tokenizer, None, tmp_path)
    monkeypatch.setattr(type(TASK), "encode", lambda *_: pytest.fail("encoded again"))
    assert rows(encode(TASK, examples(TEXTS), tokenizer, None, tmp_path)) == rows(first)
    assert isinstance(first.fields["input_ids"], np.memmap)


def test_another_text_tokenizer_or_option_is_another_entry(tokenizer, tmp_path):
    encode(TASK, examples(TEXTS), tokenizer, None, tmp_path)
    encode(TASK, examples(TEXTS[::-1]), tokenizer, None, tmp_path)
    encode(TASK, examples(TEXTS), tokenizer, 5, tmp_path)
    encode(TASK, examples(["the cat is red", "at", *TEXTS[2:]]), tokenizer, None, tmp_path)
    assert len(list((tmp_path / "encoded").iterdir())) == 4


def test_labels_are_no_part_of_the_key(tokenizer, tmp_path):
    one, other = examples(TEXTS), examples(TEXTS)
    other.columns["label"] = ["y"] * 3
    encode(TASK, one, tokenizer, None, tmp_path)
    encode(TASK, other, tokenizer, None, tmp_path)
    assert len(list((tmp_path / "encoded").iterdir())) == 1


def test_survey_counts_what_is_lost(tokenizer):
    full = encode(TASK, examples(TEXTS), tokenizer, None)
    lengths = [len(ids) for ids in tokenizer(TEXTS)["input_ids"]]
    cut = survey(full, 5)
    assert (cut.rows, cut.rows_cut) == (3, sum(n > 5 for n in lengths))
    assert cut.tokens_lost == sum(max(n - 5, 0) for n in lengths)
    assert "2 of 3 texts (66.7%) are cut at max_length 5" in str(cut)
    assert str(survey(full, 64)) == "nothing is cut at max_length 64"


def test_splits_share_one_max_length(tokenizer, tmp_path):
    splits = {"train": examples(TEXTS[:2]), "test": examples(TEXTS[2:])}
    seen = []
    encoded = encode_splits(
        TASK, splits, tokenizer, choose_max_length=lambda longest: seen.append(longest) or 6, cache=tmp_path
    )
    assert seen == [len(tokenizer(TEXTS[2])["input_ids"])]
    assert encoded.max_length == encoded.longest == 6
    assert encoded.truncation["test"].rows_cut == 1


def test_take_picks_rows_in_order(tokenizer):
    encoded = encode(TASK, examples(TEXTS), tokenizer, None)
    assert rows(encoded.take(np.array([2, 0, 2]))) == [rows(encoded)[i] for i in (2, 0, 2)]
