import time
from itertools import zip_longest

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from tunesmith.evaluation.intervals import Method, intervals
from tunesmith.metrics import overlap, total

ENGLISH = ["the", "cat", "sat", "on", "a", "mat", ",", ".", "don't", "3.5", "x"]
words = st.sampled_from([*ENGLISH, "Über", "القاهرة", "في", "北京", "東京。", "हिन्दी"])
texts = st.lists(words, max_size=12).map(" ".join)
rows = st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), min_size=1, max_size=8)


def scores_of(pairs, *measures):
    hypotheses, references = zip(*pairs, strict=True)
    return overlap.formula(total(overlap.statistics(hypotheses, references, measures)), measures)


@settings(max_examples=200, deadline=None)
@given(rows)
@example([("", ["the cat"])])
@example([("", [""])])
@example([("the cat", [""])])
@example([("the cat sat on", ["the cat sat on", ""])])
@example([("the cat sat", ["the cat sat"])])  # no 4-gram: BLEU is 0
@example([("the cat sat on x", ["x the on sat cat"])])  # orders without a hit: smoothing
@example([("北京 東京。 北京", ["北京 東京。", "東京。"]), ("القاهرة في", ["في القاهرة"])])
def test_bleu_and_chrf_are_those_of_sacrebleu(pairs):
    hypotheses, references = zip(*pairs, strict=True)
    streams = list(zip_longest(*references))
    scores = scores_of(pairs, "bleu", "chrf")
    assert scores["bleu"] == pytest.approx(BLEU().corpus_score(hypotheses, streams).score / 100, abs=1e-12)
    assert scores["chrf"] == pytest.approx(CHRF().corpus_score(hypotheses, streams).score / 100, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "references", "rouge1", "rouge2", "rouge_l"),
    [
        # Shared: the (once), cat, on, mat: 2·4 / (6 + 6). Pairs: the cat: 2·1 / (5 + 5). In order: all four.
        ("the cat sat on the mat", ["The cat lay on a mat."], 2 / 3, 1 / 5, 2 / 3),
        # The same words in another order: of b a and a b, one is in order: 2·1 / (2 + 2).
        ("b a", ["a b"], 1.0, 0.0, 1 / 2),
        # a b c d | a c b d: no pair shared, a b d in order: 2·3 / (4 + 4).
        ("a b c d", ["a c b d"], 1.0, 0.0, 3 / 4),
        # The best reference of each measure: first 2·1 / (2 + 1), second 2·2 / (2 + 5).
        ("x y", ["x", "y q x q q"], 2 / 3, 0.0, 2 / 3),
        # Scripts without [a-z0-9]: 2·1 / (2 + 1).
        ("في القاهرة", ["القاهرة"], 2 / 3, 0.0, 2 / 3),
        ("ÜBER x", ["über x"], 1.0, 1.0, 1.0),
        # A vowel sign is no word of its own: 2·1 / (2 + 2).
        ("नमस्ते दिल्ली", ["दिल्ली है।"], 1 / 2, 0.0, 1 / 2),
        # 北 京 市 | 北 京: each character is a word: 2·2 / (3 + 2), pairs 2·1 / (2 + 1).
        ("北京市。", ["北京"], 4 / 5, 2 / 3, 4 / 5),
        ("I\u0307stanbul", ["İSTANBUL"], 1.0, 0.0, 1.0),
        # Runs of word characters: don, t; one word has no pair.
        ("don't", ["don t"], 1.0, 1.0, 1.0),
        ("word", ["word"], 1.0, 0.0, 1.0),
        ("", ["word"], 0.0, 0.0, 0.0),
        ("word", [""], 0.0, 0.0, 0.0),
        ("?!", ["…"], 0.0, 0.0, 0.0),
    ],
)
def test_rouge(text, references, rouge1, rouge2, rouge_l):
    scores = scores_of([(text, references)], "rouge1", "rouge2", "rougeL")
    assert scores == pytest.approx({"rouge1": rouge1, "rouge2": rouge2, "rougeL": rouge_l})


letters = st.lists(st.sampled_from("abcde"), max_size=80)


@settings(max_examples=100, deadline=None)
@given(letters, letters)
def test_the_longest_common_subsequence_is_that_of_the_table(a, b):
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1, j + 1] = table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
    assert overlap._longest_common_subsequence(a, b) == table[-1, -1]


def test_exact_match_is_with_any_reference_and_without_outer_white_space():
    pairs = [("Paris\n", ["London", "Paris"]), ("paris", ["Paris"]), ("", [""]), ("a", ["b", "c", "d"])]
    assert scores_of(pairs, "exact_match") == {"exact_match": 0.5}


PAIRS = [("the cat sat on the mat", ["the cat sat on a mat", "a cat"]), ("", ["x"]), ("x y z", ["x y", "z"])]


def test_measures_have_the_same_scores_together_in_any_order_and_alone():
    together = scores_of(PAIRS, *reversed(overlap.MEASURES))
    assert list(together) == list(reversed(overlap.MEASURES))
    for measure in overlap.MEASURES:
        assert together[measure] == scores_of(PAIRS, measure)[measure]


def test_statistics_add_up_and_intervals_are_finite():
    hypotheses, references = zip(*PAIRS, strict=True)
    statistics = overlap.statistics(hypotheses, references, overlap.MEASURES)
    assert statistics.shape == (3, 1 + 1 + 18 + 10 + 3)
    assert np.allclose(total(statistics[:1]) + total(statistics[1:]), total(statistics))
    found = intervals(
        statistics,
        lambda sums: overlap.formula(sums, overlap.MEASURES),
        overlap.shares(overlap.MEASURES),
        Method(200, 0.95, 0),
    )
    for interval in found.values():
        assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0
        assert interval.low < interval.high


def test_nothing_to_score_is_zero():
    statistics = overlap.statistics([], [], overlap.MEASURES)
    assert statistics.shape == (0, 33)
    scores = overlap.formula(np.zeros((2, 3, 33)), overlap.MEASURES)
    assert all(score.shape == (2, 3) and not score.any() for score in scores.values())


def test_rouge_of_a_thousand_long_pairs_takes_a_second_or_two():
    rng = np.random.default_rng(0)
    hypotheses, references = (
        [" ".join(row) for row in rng.choice(list("abcdefgh"), (1000, 200))] for _ in "12"
    )
    start = time.perf_counter()
    overlap.statistics(hypotheses, [[text] for text in references], ["rouge1", "rouge2", "rougeL"])
    assert time.perf_counter() - start < 5  # about 0.4 s; a table would take a minute
