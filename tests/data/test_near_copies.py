import random
from itertools import combinations

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH

from tunesmith.data.examples import Examples
from tunesmith.data.near_copies import LEVELS, Copies, Level, WordSets, word_sets


def rows(texts, **more):
    n = len(texts)
    return Examples(
        {"text": texts, **more}, ("x.csv",), np.zeros(n, np.int32), np.arange(n), inputs=("text", *more)
    )


def random_texts(n, seed=0, words=2000, length=14):
    rng = random.Random(seed)
    ranks = [int(words * rng.random() ** 3) for _ in range(n * length)]
    return [" ".join(f"w{rank}" for rank in ranks[i * length : (i + 1) * length]) for i in range(n)]


def edited(text, rng):
    words = text.split()
    words[rng.randrange(len(words))] = f"new{rng.randrange(10**6)}"
    return " ".join(words)


def test_an_edited_text_is_a_copy_and_others_are_not():
    texts = random_texts(400)
    rng = random.Random(1)
    copies = [edited(text, rng) for text in texts[:100]]
    found = Copies(word_sets(rows([*texts, *copies])))
    matches = found.between(range(400, 500), range(400))
    assert {row: of for row, (of, _) in matches.items()} == {400 + i: i for i in range(100)}
    assert found.within(range(400)) == {}


@pytest.mark.parametrize(
    "copy",
    ["THE CAFE ON ELM STREET SELLS OLD BICYCLES", "the “café” on Elm-Street sells old bicycles!!",
     "the cafe on elm street sells old bicycles today"],
)  # fmt: skip
def test_case_punctuation_and_a_word_more_are_edits(copy):
    texts = ["The cafe on Elm Street sells old bicycles.", *random_texts(50)]
    found = Copies(word_sets(rows([*texts, copy]))).between([51], range(51))
    assert found[51][0] == 0


def test_what_two_texts_share_must_say_something():
    """Texts that follow one template are no copies: what they share is in many texts."""
    names = [
        f"{first}{last}"
        for first in ("Al", "Be", "Ka", "Mo", "Zu")
        for last in ("ria", "land", "via", "stan")
    ]
    questions = [f"What is the capital of {name} ?" for name in names]
    found = Copies(word_sets(rows([*questions, *random_texts(100)])))
    assert found.within(range(len(questions))) == {}


def test_the_similarity_is_the_weighed_jaccard_index():
    texts = ["a b c", "a b d", *("a x" for _ in range(1)), *random_texts(20)]
    found = Copies(word_sets(rows(texts)), level=LEVELS[0])
    n = len(texts)
    bits = {word: np.log2((n + 1) / (sum(word in text.split() for text in texts) + 1)) for word in "abcd"}
    shared = bits["a"] + bits["b"]
    assert found.similarity(0, 1) == pytest.approx((shared / sum(bits.values()), shared))


def test_every_part_of_a_row_must_be_similar():
    context = "the bridge was built of wood and stone in the year of the great flood by seven masons"
    first, second = "who paid the masons for the bridge", "when did the flood destroy another valley"
    alike = rows([first, second, *random_texts(30)], context=[context, context, *random_texts(30, seed=2)])
    found = Copies(word_sets(alike))
    assert found.within(range(2)) == {}
    again = rows(
        [first, first.upper(), *random_texts(30)], context=[context, context, *random_texts(30, seed=2)]
    )
    assert Copies(word_sets(again)).within(range(2)) == {1: (0, 1.0)}


def test_scripts_without_spaces_are_compared_by_pairs_of_characters():
    base = "我们昨天在城里的旧书店买了三本关于自行车修理的书"
    other = "今天下午图书馆因为停电提前两个小时关门请大家谅解"
    found = Copies(word_sets(rows([base, other, base.replace("三", "五"), *random_texts(30)])))
    assert set(found.within(range(3))) == {2}


def test_copies_that_are_taken_out_leave_no_copies():
    texts = random_texts(200)
    rng = random.Random(3)
    for _ in range(3):
        texts += [edited(text, rng) for text in texts[:150]]
    found = Copies(word_sets(rows(texts)))
    copies = found.within(range(len(texts)))
    kept = [text for row, text in enumerate(texts) if row not in copies]
    assert len(kept) < 320
    assert Copies(word_sets(rows(kept)), level=found.level).within(range(len(kept))) == {}


def test_the_order_of_rows_changes_no_similarity_and_few_matches():
    texts = random_texts(300)
    rng = random.Random(4)
    texts += [edited(text, rng) for text in texts[:80]]
    order = list(range(len(texts)))
    rng.shuffle(order)
    one, other = Copies(word_sets(rows(texts))), Copies(word_sets(rows([texts[i] for i in order])))
    assert one.level == other.level
    assert len(one.within(range(380))) == len(other.within(range(380)))


def test_pairs_are_those_of_datasketch():
    """What datasketch proposes and an exact comparison confirms, on texts whose words weigh nearly the same."""
    rng = random.Random(5)
    texts = [" ".join(f"w{rng.randrange(5000)}" for _ in range(12)) for _ in range(300)]
    texts += [edited(edited(text, rng), rng) for text in texts[:100]]
    sets = [set(text.split()) for text in texts]
    index = MinHashLSH(threshold=0.4, num_perm=128)
    for row, words in enumerate(sets):
        sketch = MinHash(num_perm=128)
        sketch.update_batch([word.encode() for word in words])
        index.insert(row, sketch)
    theirs = set()
    for row, words in enumerate(sets):
        sketch = MinHash(num_perm=128)
        sketch.update_batch([word.encode() for word in words])
        theirs |= {(min(row, of), max(row, of)) for of in index.query(sketch) if of != row}
    ours = Copies(word_sets(rows(texts)), level=Level(0.6, 12))
    confirmed = {pair for pair in theirs if ours.is_copy(*pair) is not None}
    found = {(of, row) for row, (of, _) in ours.within(range(400)).items()}
    every = {pair for pair in combinations(range(400), 2) if ours.is_copy(*pair) is not None}
    assert found == every >= confirmed
    assert len(confirmed) >= 0.9 * len(every) >= 70


def test_long_texts_are_sampled_alike():
    long = " ".join(random_texts(40, words=20_000))
    copy = long.replace("w1", "v1", 20)
    texts = word_sets(rows([long, copy, *random_texts(30)]))
    assert len(texts.of(0)) == 128
    found = Copies(texts, level=LEVELS[0])
    similarity, _ = found.similarity(0, 1)
    a, b = set(long.split()), set(copy.split())
    assert similarity == pytest.approx(len(a & b) / len(a | b), abs=0.12)


def test_texts_of_signs_alone_are_equal_only_to_themselves():
    found = Copies(word_sets(rows(["!!!", "???", "!!!", *random_texts(20)])))
    assert found.within(range(3)) == {2: (0, 1.0)}


def test_parts_are_joined_and_taken():
    one, other = word_sets(rows(["a b", "c"])), word_sets(rows(["d e f"]))
    joined = WordSets.join([one, other])
    assert [len(joined.of(i)) for i in range(3)] == [2, 1, 3]
    assert joined.take(np.array([2, 0])).of(0) == other.of(0)
