import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForMaskedLM, AutoTokenizer
from transformers import pipeline as hugging_face

from tunesmith.encoded import Ragged
from tunesmith.errors import DataError
from tunesmith.inference.answering import answer
from tunesmith.inference.forward import forward
from tunesmith.tasks import (
    IGNORED,
    TASKS,
    EncodeOptions,
    EvalPredictions,
    LossOptions,
    RowError,
    point_scores,
)
from tunesmith.testing.tiny import tiny_task_rows, write_tiny_model

TASK = TASKS.get("fill-mask")
ROWS = [row["text"] for row in tiny_task_rows("fill-mask", 300, seed=4)]
SPLIT = ["abc the cabbage dog " * 3 for _ in range(300)]
"""Words of several pieces among words of one."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("models") / "bert", dropout=0.0)


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def encode(texts, tokenizer, purpose="train", max_length=None, overlap=0):
    return TASK.encode({"text": texts}, tokenizer, EncodeOptions(max_length, purpose, overlap), {})


def draw(encoded, tokenizer, seed=0, **options):
    return TASK.masking.draw(encoded, np.random.default_rng(seed), tokenizer, LossOptions(**options))


@pytest.mark.parametrize("share", [0.05, 0.15, 0.4, 0.8])
def test_the_share_is_chosen_of_every_text_and_at_least_one_token(tokenizer, share):
    encoded = encode(ROWS, tokenizer)
    varied = draw(encoded, tokenizer, mlm_probability=share)
    words = encoded.ragged["word_of_token"]
    usable = words.sums((words.values > 0).astype(np.int64))
    chosen = TASK.num_items(varied)
    assert chosen.tolist() == np.maximum(np.rint(share * usable), 1).tolist()


def test_of_those_chosen_eight_tenths_are_hidden_one_replaced_and_one_left(tokenizer):
    """Devlin et al. 2019, section 3.1; within four deviations on 60,000 tokens."""
    encoded = encode(ROWS * 20, tokenizer)
    varied = draw(encoded, tokenizer, mlm_probability=0.5)
    before, after = encoded.ragged["input_ids"].values, varied.ragged["input_ids"].values
    labels = varied.ragged["labels"].values
    chosen = labels != IGNORED
    n, v = int(chosen.sum()), len(tokenizer)
    assert n > 20_000
    assert (labels[chosen] == before[chosen]).all()
    assert (after[~chosen] == before[~chosen]).all()
    hidden = (after[chosen] == tokenizer.mask_token_id).mean()
    left = (after[chosen] == before[chosen]).mean()
    # One replacement in v is the token itself, and one in v the mask.
    for found, expected in (
        (hidden, 0.8 + 0.1 / v),
        (left, 0.1 + 0.1 / v),
        (1 - hidden - left, 0.1 - 0.2 / v),
    ):
        assert abs(found - expected) < 4 * math.sqrt(expected * (1 - expected) / n)
    replaced = after[chosen & (after != before) & (after != tokenizer.mask_token_id)]
    assert len(set(replaced.tolist())) > 0.8 * v


def test_every_place_is_chosen_as_often_as_any_other(tokenizer):
    encoded = encode(["the cat is old and red"] * 4000, tokenizer)
    varied = draw(encoded, tokenizer, mlm_probability=1 / 3)
    chosen = (varied.ragged["labels"].values != IGNORED).reshape(4000, -1)[:, 1:-1]
    assert np.abs(chosen.mean(0) - 1 / 3).max() < 4 * math.sqrt(2 / 9 / 4000)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([*ROWS[:5], *SPLIT[:1], "猫 🙂", "a", "x-y, z."]), min_size=1, max_size=6),
    st.integers(0, 10_000),
    st.sampled_from([0.01, 0.15, 0.9]),
    st.booleans(),
)
def test_specials_are_never_chosen_and_every_text_has_something_to_learn(
    tokenizer, texts, seed, share, whole
):
    encoded = encode(texts, tokenizer)
    varied = draw(encoded, tokenizer, seed, mlm_probability=share, whole_word_masking=whole)
    before, labels = encoded.ragged["input_ids"].values, varied.ragged["labels"].values
    special = np.isin(before, [tokenizer.cls_token_id, tokenizer.sep_token_id])
    assert (labels[special] == IGNORED).all()
    assert TASK.num_items(varied).min() >= 1
    assert varied.ragged["labels"].offsets.tolist() == encoded.ragged["input_ids"].offsets.tolist()


def test_whole_words_are_chosen_together(tokenizer):
    encoded = encode(SPLIT, tokenizer)
    words = encoded.ragged["word_of_token"]
    sequence = np.repeat(np.arange(len(words)), words.lengths)
    word = sequence * 1000 + words.values
    for whole in (False, True):
        varied = draw(encoded, tokenizer, mlm_probability=0.2, whole_word_masking=whole)
        chosen = varied.ragged["labels"].values != IGNORED
        assert not chosen[words.values == 0].any()
        of_word = [chosen[word == w] for w in np.unique(word[words.values > 0])[:2000]]
        assert max(map(len, of_word)) > 3
        assert all(part.all() or not part.any() for part in of_word) is whole
        assert 0.18 < chosen[words.values > 0].mean() < 0.36


@pytest.mark.parametrize(
    ("text", "n_words"), [("गुलाबी बिल्ली यहाँ है", 4), ("南京市长江大桥", 7), ("กรุงเทพ ที่นี่", 8), ("the cat", 2)]
)
@pytest.mark.parametrize("family", ["llama", "bart"])
def test_whole_words_are_those_of_the_script(tmp_path_factory, family, text, n_words):
    """No tokenizer's own words are: one parts at vowel signs, one takes a line of Chinese for a word."""
    tokenizer = AutoTokenizer.from_pretrained(write_tiny_model(tmp_path_factory.mktemp("m"), family=family))
    tokenizer.mask_token = tokenizer.mask_token or tokenizer.eos_token
    words = encode([text], tokenizer).ragged["word_of_token"][0]
    assert sorted(set(words[words > 0].tolist())) == list(range(1, n_words + 1))


def test_masks_are_a_function_of_the_generator(tokenizer):
    encoded = encode(ROWS, tokenizer)
    one, again, other = (draw(encoded, tokenizer, seed) for seed in (1, 1, 2))
    for name in ("input_ids", "labels"):
        assert np.array_equal(one.ragged[name].values, again.ragged[name].values)
        assert not np.array_equal(one.ragged[name].values, other.ragged[name].values)
    assert "labels" not in encoded.ragged, "what was encoded stays as it was"


def test_masks_to_score_with_stay_the_same(tokenizer):
    one, again = (encode(ROWS, tokenizer, "score") for _ in range(2))
    assert np.array_equal(one.ragged["labels"].values, again.ragged["labels"].values)
    chosen = TASK.num_items(one).sum() / (one.ragged["word_of_token"].values > 0).sum()
    assert 0.1 < chosen < 0.2


def test_a_long_text_is_read_in_windows(tokenizer):
    encoded = encode([" ".join(ROWS[:30]), "cat"], tokenizer, "train", 20)
    assert encoded.ragged["input_ids"].lengths.max() <= 20
    assert encoded.n_rows == 2
    assert (np.bincount(encoded.rows) > [5, 0]).all()
    words = encoded.ragged["word_of_token"]
    in_first = words.take(np.flatnonzero(encoded.rows == 0)).values
    assert len(set(in_first.tolist()) - {0}) == len(" ".join(ROWS[:30]).split())
    whole = encode([" ".join(ROWS[:30]), "cat"], tokenizer).ragged["word_of_token"]
    assert in_first[in_first > 0].tolist() == whole[0][whole[0] > 0].tolist()


def test_scores_are_those_of_transformers(folder, tokenizer):
    import torch

    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    encoded = encode(ROWS[:20], tokenizer, "score")
    kept = forward(TASK, model, encoded, pad_token_id=0)
    scores = point_scores(TASK, EvalPredictions({"text": ROWS[:20]}, encoded, kept, None, tokenizer), {})
    nll = right = n = 0.0
    for sequence in range(20):
        ids, labels = (
            torch.tensor(encoded.ragged[k][sequence]).long()[None] for k in ("input_ids", "labels")
        )
        with torch.no_grad():
            logits = model(ids).logits
        at = labels != IGNORED
        nll += float(torch.nn.functional.cross_entropy(logits[at], labels[at], reduction="sum"))
        right += float((logits[at].argmax(-1) == labels[at]).sum())
        n += int(at.sum())
    assert scores["loss"] == pytest.approx(nll / n, rel=1e-5)
    assert scores["accuracy"] == pytest.approx(right / n)
    assert scores["perplexity"] == pytest.approx(math.exp(nll / n), rel=1e-4)


# ---- answers ----


@pytest.mark.parametrize("mask", ["<mask>", "[MASK]"])
def test_answers_are_those_of_the_pipeline_of_transformers(folder, tokenizer, mask):
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    texts = [f"the {mask} is here", f"{mask}", f"a red {mask} and a cat"]
    encoded = encode(texts, tokenizer, "predict")
    ours = TASK.decode(answer(TASK, model, tokenizer, {"text": texts}, encoded), {})
    theirs = hugging_face("fill-mask", model=model, tokenizer=tokenizer)
    for text, mine in zip(texts, ours, strict=True):
        expected = theirs(text.replace(mask, "[MASK]"), top_k=5)
        assert [a["token"] for a in mine["top"]] == [a["token"] for a in expected]
        for one, other in zip(mine["top"], expected, strict=True):
            assert one["token_str"] == other["token_str"]
            assert one["sequence"] == other["sequence"]
            assert one["score"] == pytest.approx(other["score"], rel=1e-4)
        assert {k: mine[k] for k in ("token_str", "score")} == {
            k: mine["top"][0][k] for k in ("token_str", "score")
        }


def test_a_mask_far_behind_the_window_is_found(folder, tokenizer):
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    texts = ["the old cat " * 40 + "is [MASK]"]
    encoded = encode(texts, tokenizer, "predict", 32, 8)
    (found,) = TASK.decode(answer(TASK, model, tokenizer, {"text": texts}, encoded), {})
    assert len(found["top"]) == 5


def test_a_text_without_a_mask_is_refused(tokenizer):
    encoded = encode(["the cat"], tokenizer, "predict")
    kept = Ragged(np.zeros((4, 10), dtype=np.float32), encoded.ragged["input_ids"].offsets)
    with pytest.raises(RowError, match="the text has no mask; write <mask>"):
        TASK.decode(EvalPredictions({"text": ["the cat"]}, encoded, kept, None, tokenizer), {})


def test_a_model_that_hides_nothing_is_refused(tmp_path):
    decoder = AutoTokenizer.from_pretrained(write_tiny_model(tmp_path / "m", family="llama"))
    with pytest.raises(DataError, match="no mask token"):
        encode(["the cat"], decoder)
