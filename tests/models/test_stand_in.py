"""The tokenizer in place of one that is not on this machine."""

import csv

from tunesmith.models.resolve import resolve_model
from tunesmith.models.stand_in import stand_in_tokenizer
from tunesmith.models.tokenizer import load_tokenizer


def test_a_model_of_bytes_gets_exact_lengths():
    texts = ["naïve café", "plain words"]
    tokenizer = stand_in_tokenizer(texts, context=100, reads_bytes=True)
    for text in texts:
        assert len(tokenizer(text)["input_ids"]) == len(text.encode()) + 2


def test_it_knows_every_text_and_every_special_token():
    tokenizer = stand_in_tokenizer(["the old cat"], context=64)
    assert tokenizer.decode(tokenizer("日本 cat", add_special_tokens=False)["input_ids"]) == "日本 cat"
    assert tokenizer.model_max_length == 64
    special = (
        tokenizer.pad_token_id,
        tokenizer.mask_token_id,
        tokenizer.eos_token_id,
        tokenizer.cls_token_id,
    )
    assert len(set(special)) == 4
    assert len(tokenizer("a", "b")["input_ids"]) == 5


def test_lengths_are_about_those_of_a_known_tokenizer(shared):
    with (shared / "data" / "banking77" / "train.csv").open(encoding="utf-8", newline="") as handle:
        texts = [row["text"] for row in csv.DictReader(handle)][:1500]
    known = load_tokenizer(resolve_model("sentence-transformers/all-MiniLM-L6-v2", download=False))
    ours, theirs = (
        sum(map(len, tokenizer(texts)["input_ids"]))
        for tokenizer in (stand_in_tokenizer(texts, context=512), known)
    )
    assert 0.85 < ours / theirs < 1.15
