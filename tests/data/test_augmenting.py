import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.augmenting import augmented, noisy
from tunesmith.data.examples import Examples
from tunesmith.segmentation import characters
from tunesmith.tasks import TASKS

TASK = TASKS.get("text-classification")
WORDS = [
    "customer",
    "reports",
    "that",
    "the",
    "delivery",
    "never",
    "came",
    "although",
    "tracking",
    "says",
    "otherwise",
]


def examples(n=30, pairs=False):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 12)) for _ in range(n)]
    columns = {"text": texts, "label": [str(i % 3) for i in range(n)]}
    if pairs:
        columns["text_pair"] = texts[::-1]
    extra = {"shop": [f"shop {i}" for i in range(n)]}
    return Examples(columns, ("a.csv",), np.zeros(n, np.int32), np.arange(2, n + 2), extra)


def noise(text, seed=0, **shares):
    return noisy(text, shares, np.random.default_rng(seed))


def test_the_rows_and_after_them_a_copy_of_each():
    data = examples()
    texts = list(data.columns["text"])
    both = augmented(data, {"typos": 0.5}, TASK, seed=1)
    assert both.columns["text"][:30] == texts == data.columns["text"]
    assert all(one != other for one, other in zip(both.columns["text"][30:], texts, strict=True))
    for values in (both.columns["label"], both.extra["shop"], both.lines.tolist(), both.file_index.tolist()):
        assert list(values[:30]) == list(values[30:])
    assert len(both) == 60
    assert both.location(30) == data.location(0)


def test_the_noise_is_a_function_of_seed_and_row():
    shares = {"word_dropout": 0.2, "typos": 0.2, "casing": 0.2}
    one, again, other = (augmented(examples(), shares, TASK, seed=s).columns["text"] for s in (1, 1, 2))
    assert one == again
    assert one != other
    fewer = augmented(examples().take(np.arange(10)), shares, TASK, seed=1).columns["text"]
    assert fewer[10:] == one[30:40]
    same = Examples({"text": [" ".join(WORDS)] * 9}, ("a",), np.zeros(9, np.int32), np.arange(9))
    assert len(set(augmented(same, shares, TASK, seed=1).columns["text"][9:])) > 5


def test_both_texts_of_a_pair_get_noise_and_not_the_same():
    data = examples(pairs=True)
    data.columns["text_pair"] = list(data.columns["text"])
    both = augmented(data, {"word_dropout": 0.3}, TASK, seed=1)
    assert both.columns["text_pair"][30:] != data.columns["text_pair"]
    assert both.columns["text_pair"][30:] != both.columns["text"][30:]


def test_without_shares_a_copy_is_its_text():
    text = "  two  blanks,\nand a line\t"
    assert noise(text) == text.strip()


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_shares_are_shares_of_words(share):
    text = " ".join(WORDS * 400)
    n = len(WORDS) * 400
    spread = 4 * (share * (1 - share) / n) ** 0.5
    left = noise(text, word_dropout=share).split()
    assert 1 - len(left) / n == pytest.approx(share, abs=spread)
    misspelt = sum(a != b for a, b in zip(noise(text, typos=share).split(), text.split(), strict=True))
    # A swap of equal letters changes nothing: `tracking` and the like have none, three words of eleven have.
    assert 0.8 * share - spread < misspelt / n <= share + spread
    recased = noise(text, casing=share).split()
    assert [a.lower() for a in recased] == text.split()
    # One of the four cases is lower, as all these are.
    changed = sum(a != b for a, b in zip(recased, text.split(), strict=True))
    assert changed / n == pytest.approx(0.75 * share, abs=spread)


def test_misspelt_words_are_two_letters_swapped_one_left_out_or_one_doubled():
    def near(word):
        for i in range(len(word)):
            yield word[:i] + word[i + 1 :]
            yield word[: i + 1] + word[i:]
            yield word[:i] + word[i + 1 : i + 2] + word[i] + word[i + 2 :]

    seen = set()
    for seed in range(300):
        word = noise("delivery", seed, typos=1.0)
        assert word in set(near("delivery"))
        assert word[0] == "d"
        seen.add(len(word))
    assert seen == {7, 8, 9}
    assert noise("so", typos=1.0) == "so"


def test_words_are_left_out_where_blanks_part_none():
    text = "南京市长江大桥" * 100
    left = noise(text, word_dropout=0.3)
    assert len(left) / len(text) == pytest.approx(0.7, abs=0.08)
    assert noise("กรุงเทพ ที่นี่", typos=1.0) == "กรุงเทพ ที่นี่", "a character alone has nothing to swap"


def test_a_mark_stays_with_its_letter():
    words = {noise("नमस्तेनगर", seed, typos=1.0) for seed in range(50)}
    assert len(words) > 4
    letters = set(characters("नमस्तेनगर"))
    assert all(set(characters(word)) <= letters for word in words), "no mark has moved to another letter"


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=30).filter(str.strip),
    st.dictionaries(st.sampled_from(["word_dropout", "typos", "casing"]), st.sampled_from([0.5, 1.0])),
    st.integers(0, 10),
)
def test_a_text_never_becomes_empty(text, shares, seed):
    assert noise(text, seed, **shares).strip()


def test_numbers_and_labels_are_left_alone():
    task = TASKS.get("text-regression")
    columns = {"text": ["one two three"] * 3, "score": [1.0, 2.0, 3.0]}
    data = Examples(columns, ("a",), np.zeros(3, np.int32), np.arange(3))
    both = augmented(data, {"word_dropout": 0.5, "casing": 0.5}, task, seed=1)
    assert both.columns["score"] == [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]
