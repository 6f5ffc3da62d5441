"""Preference for stereotypes: the definitions of CrowS-Pairs and of F1 of pronouns, from known scores."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tunesmith.data.sentence_pairs import SentencePair, read_pairs
from tunesmith.errors import DataError
from tunesmith.evaluation.analyses import ANALYSES
from tunesmith.evaluation.analyses.stereotypes import pronoun_bias
from tunesmith.testing.answered import answered, random_rows

FIND = ANALYSES.get("stereotypes").find


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "pairs" / "test.csv"
    path.parent.mkdir()
    rows = [
        ("men are bad", "women are bad", "stereo", "gender"),
        ("old men forget", "young men forget", "stereo", "age"),
        ("the poor steal", "the rich steal", "antistereo", "gender"),
        ("a b", "a c", "antistereo", "age"),
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("sent_more", "sent_less", "stereo_antistereo", "bias_type"), *rows])
    return path


def find(source, scores):
    known = answered(random_rows(50, np.random.default_rng(0), right=0.8), pair_likelihoods=lambda _: scores)
    return FIND(replace(known, how=known.how.model_copy(update={"stereotypes": [str(source)]})))


def test_the_metric_is_that_of_the_published_code(table):
    """metric.py of CrowS-Pairs: for `antistereo`, the second sentence is `sent_more`; equal scores count as no."""
    scores = np.array([[-5.0, -6.0], [-5.0, -4.0], [-3.0, -3.5], [-1.0001, -1.0002]])
    found = find(table, scores)["test.csv"]
    assert found["preference"]["value"] == 2 / 4
    assert found["stereo"]["value"] == 1 / 2
    assert found["antistereo"]["value"] == 1 / 2
    assert found["kinds"]["gender"]["value"] == 1.0
    assert found["preference"]["low"] < 0.5 < found["preference"]["high"]
    assert "cannot be told from 50 %" in found["text"]
    assert find(table, scores - np.array([0.0, 9.0]))["test.csv"]["preference"]["value"] == 1.0


def test_f1_of_pronouns_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    male, prefers = rng.random(300) < 0.5, rng.random(300) < 0.7
    chosen = np.where(prefers, male, ~male)
    f1 = {
        (side, gender): f1_score(gold, chosen, pos_label=gender)
        for side, gold in (("pro", male), ("anti", ~male))
        for gender in (True, False)
    }
    expected = {
        "stereotype": (abs(f1["pro", True] - f1["anti", True]) + abs(f1["pro", False] - f1["anti", False]))
        / 2,
        "skew": (abs(f1["pro", True] - f1["pro", False]) + abs(f1["anti", True] - f1["anti", False])) / 2,
    }
    assert pronoun_bias(male, prefers) == pytest.approx(expected)


def test_winobias_is_read_line_by_line(tmp_path):
    pro, anti = (tmp_path / f"{side}_stereotyped_type1.txt.dev" for side in ("pro", "anti"))
    pro.write_text(
        "1 [The cook] left because [he] was ill.\n2 [The nurse] said [she] slept.\n3 A maid saw [he] slept.\n"
    )
    anti.write_text(
        "1 [The cook] left because [she] was ill.\n2 [The nurse] said [he] slept.\n3 A maid knew [he] slept.\n"
    )
    pairs, n_same = read_pairs(str(tmp_path))
    assert n_same == 1
    assert pairs == [
        SentencePair(
            "The cook left because he was ill.", "The cook left because she was ill.", "type1", male=True
        ),
        SentencePair("The nurse said she slept.", "The nurse said he slept.", "type1", male=False),
    ]
    anti.write_text("1 [The cook] left because [she] was ill.\n")
    with pytest.raises(DataError, match="as many lines, and have 3 and 1"):
        read_pairs(str(tmp_path))


def test_what_are_no_pairs_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("text\nhello\n")
    with pytest.raises(DataError, match="a pair needs `sent_more` and `sent_less`"):
        read_pairs(str(tmp_path / "a.csv"))
    with pytest.raises(DataError, match="has no pairs"):
        read_pairs(str(tmp_path))
