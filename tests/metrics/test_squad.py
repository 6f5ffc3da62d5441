"""Expected values are worked out by hand from evaluate-v2.0.py's definitions, in the comments."""

import numpy as np
import pytest

from tunesmith.evaluation.intervals import Method, intervals
from tunesmith.metrics import squad, total


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Eiffel\tTower, (in) an\nÜbermaß!", "eiffel tower in übermaß"),
        ("U.S.", "us"),  # punctuation goes without leaving a space …
        ("state-of-the-art", "stateoftheart"),  # … and before articles are looked for
        ("Theatre another a", "theatre another"),  # articles are whole words
        ("a.the", "athe"),
        ("12,5 %", "125"),
        ("the中国", "the中国"),  # no word boundary between them
        ("北京。", "北京"),  # the punctuation of a script goes …
        ("«दिल्ली।»", "«दिल्ली»"),
        ("“北京”", "北京"),  # … and all of it in Chinese
        ("the – “Tower”", "– “tower”"),  # but in Latin only that of ASCII
        ("«القاهرة»", "«القاهرة»"),
        ("القاهرة.", "القاهرة"),
        ("The", ""),
        ("", ""),
    ],
)
def test_normalise(text, expected):
    assert squad.normalise(text) == expected


@pytest.mark.parametrize(
    ("prediction", "golds", "exact", "f1"),
    [
        ("The Eiffel Tower", ["eiffel tower!"], 1, 1),
        # cat sat on mat | cat on mat: 3 shared, 2·3 / (4 + 3)
        ("the cat sat on the mat", ["cat on a mat"], 0, 6 / 7),
        # new new york | new york: a word counts as often as both have it, 2·2 / (3 + 2)
        ("new new york", ["New York"], 0, 4 / 5),
        ("paris", ["London"], 0, 0),
        # The best answer for each score: 2·1 / (2 + 1) with the first
        ("Marie Curie", ["Curie", "Maria Sklodowska"], 0, 2 / 3),
        ("Marie Curie", ["Curie", "marie curie"], 1, 1),
        # في القاهرة | القاهرة: 2·1 / (2 + 1)
        ("في القاهرة", ["القاهرة"], 0, 2 / 3),
        ("القاهرة.", ["القاهرة"], 1, 1),
        ("北京", ["北京"], 1, 1),
        ("北京市", ["北京"], 0, 4 / 5),  # each character is a word: 2·2 / (3 + 2)
        ("2008年8月", ["8月"], 0, 4 / 6),  # 2008 年 8 月 | 8 月
        ("กรุงเทพ", ["กรุง"], 0, 2 * 3 / (6 + 3)),  # ก รุ ง เ ท พ: a vowel sign is part of its character
        ("दिल्ली में", ["दिल्ली।"], 0, 2 / 3),
        ("ÉCOLE", ["école"], 1, 1),
        # No answer: right where nothing is left of the prediction
        ("", [], 1, 1),
        ("", [""], 1, 1),
        ("the", [""], 1, 1),
        ("paris", [], 0, 0),
        ("paris", [""], 0, 0),
        ("", ["paris"], 0, 0),
        # An answer of which nothing is left is dropped beside another, as in the official filter
        ("", ["the", "paris"], 0, 0),
        ("", ["the"], 1, 1),
    ],
)
def test_exact_match_and_f1(prediction, golds, exact, f1):
    assert squad.exact_match(prediction, golds) == exact
    assert squad.f1(prediction, golds) == pytest.approx(f1)


PREDICTIONS = ["the cat sat on the mat", "Paris", "", "London", "rain"]
GOLDS = [["cat on a mat"], ["paris"], [], [""], ["snow"]]


def test_scores_are_means_over_questions_and_over_each_kind():
    sums = total(squad.statistics(PREDICTIONS, GOLDS))
    scores = squad.formula(sums, with_unanswerable=True)
    assert squad.has_both_kinds(sums)
    assert scores == pytest.approx(
        {
            "exact_match": 2 / 5,  # Paris, and the empty one
            "f1": (6 / 7 + 2) / 5,
            "f1_answerable": (6 / 7 + 1) / 3,
            "accuracy_unanswerable": 1 / 2,
        }
    )


def test_all_answerable_has_two_scores():
    sums = total(squad.statistics(["a", "b"], [["a b"], ["b"]]))
    assert not squad.has_both_kinds(sums)
    assert set(squad.formula(sums)) == {"exact_match", "f1"}


def test_a_resample_without_one_kind_is_zero_there():
    scores = squad.formula(np.stack([np.zeros(5), [1, 1, 1, 0, 0]]), with_unanswerable=True)
    assert scores["accuracy_unanswerable"].tolist() == [0.0, 0.0]
    assert scores["f1"].tolist() == [0.0, 1.0]
    found = intervals(
        squad.statistics(PREDICTIONS, GOLDS),
        lambda sums: squad.formula(sums, with_unanswerable=True),
        squad.shares(with_unanswerable=True),
        Method(100, 0.95, 0),
    )
    assert len(found) == 4


def test_every_question_needs_its_answers():
    with pytest.raises(ValueError, match="shorter"):
        squad.statistics(["a", "b"], [["a"]])
