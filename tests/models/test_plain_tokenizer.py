"""A tokenizer without transformers gives what the one of transformers gives."""

import pytest

from tunesmith.models.plain_tokenizer import PlainTokenizer, facts_of_tokenizer
from tunesmith.models.resolve import ModelFiles, resolve_model
from tunesmith.models.tokenizer import load_tokenizer
from tunesmith.testing.family_tokenizers import write_tokenizer

FAMILIES = ("bert", "roberta", "xlm-roberta", "modernbert", "deberta-v2", "llama", "qwen2", "albert", "mpnet")
TEXTS = [
    "the cat is red",
    "  a dog\tis here: [MASK] <mask> </s>\n",
    "Größe ½ — naïve 日本語 🚴‍♀️ لا",
    "old new big blue " * 12,
    "x",
]
PAIRS = ["is the dog here", "red blue " * 30, "", "the", "[SEP] big"]
FIELDS = (
    "input_ids",
    "token_type_ids",
    "offset_mapping",
    "special_tokens_mask",
    "overflow_to_sample_mapping",
)
CALLS = {
    "whole": {},
    "without special tokens": {"add_special_tokens": False, "return_offsets_mapping": True},
    "cut": {"truncation": True, "max_length": 12, "return_token_type_ids": True},
    "windows": {
        "truncation": True, "max_length": 12, "stride": 3, "return_overflowing_tokens": True,
        "return_offsets_mapping": True, "return_special_tokens_mask": True,
    },
    "one window": {"return_overflowing_tokens": True, "return_offsets_mapping": True},
}  # fmt: skip
OF_PAIRS = {
    "whole": {"return_token_type_ids": True},
    "cut": {"truncation": True, "max_length": 16},
    "windows": {
        "truncation": "only_second", "max_length": 80, "stride": 4, "return_overflowing_tokens": True,
        "return_offsets_mapping": True, "return_token_type_ids": True,
    },
}  # fmt: skip


def both_of(folder, saved):
    theirs = load_tokenizer(ModelFiles(str(folder), folder, "a test"))
    theirs.save_pretrained(saved)
    return theirs, PlainTokenizer(saved / "tokenizer.json", facts_of_tokenizer(theirs))


def assert_equal(ours, theirs, *given, **how):
    a = ours(*given, return_attention_mask=False, verbose=False, **how)
    b = theirs(*given, return_attention_mask=False, verbose=False, **{"return_token_type_ids": False, **how})
    assert set(a) == set(b)
    for field in a:
        assert list(map(_plain, a[field])) == list(map(_plain, b[field])), field
    for sequence in range(len(a["input_ids"])):
        assert a.word_ids(sequence) == b.word_ids(sequence)
        assert a.sequence_ids(sequence) == b.sequence_ids(sequence)


def _plain(value):
    return (
        [tuple(it) if isinstance(it, (list, tuple)) else it for it in value]
        if isinstance(value, list)
        else value
    )


@pytest.fixture(scope="module", params=FAMILIES)
def tokenizers(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    write_tokenizer(folder, request.param)
    return both_of(folder, folder / "saved")


@pytest.mark.parametrize("name", CALLS)
def test_texts(tokenizers, name):
    theirs, ours = tokenizers
    assert_equal(ours, theirs, TEXTS, **CALLS[name])
    assert_equal(ours, theirs, TEXTS[:1])  # what one call sets, the next does not keep


@pytest.mark.parametrize("name", OF_PAIRS)
def test_pairs(tokenizers, name):
    theirs, ours = tokenizers
    assert_equal(ours, theirs, TEXTS, PAIRS, **OF_PAIRS[name])


def test_the_embedded_model_and_others(tmp_path):
    """Files that nobody here wrote."""
    theirs, ours = both_of(resolve_model("sentence-transformers/all-MiniLM-L6-v2").path, tmp_path)
    for how in CALLS.values():
        assert_equal(ours, theirs, TEXTS, **how)
    for how in OF_PAIRS.values():
        assert_equal(ours, theirs, TEXTS, PAIRS, **how)


@pytest.mark.parametrize("name", ["bart-g2p-en-us", "stories260K", "tinystories-656k"])
def test_shared_models(shared, tmp_path, name):
    theirs, ours = both_of(shared / "models" / name, tmp_path)
    for how in CALLS.values():
        assert_equal(ours, theirs, TEXTS, **how)
