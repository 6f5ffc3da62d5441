import numpy as np
import pytest
from scipy.stats import chi2_contingency
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score

from tunesmith.checks import CHECKS
from tunesmith.checks._two_samples import _aucs, tell_apart
from tunesmith.checks.shift import compare_counts, row_vectors
from tunesmith.encoded import Encoded, Ragged

CHECK = CHECKS.get("shift")


def test_a_difference_is_found_as_well_as_by_scikit_learn():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(400, 20)).astype(np.float32)
    other = (rng.normal(size=(300, 20)) + 0.3).astype(np.float32)
    found = tell_apart(one, other, seed=0)
    x, y = np.concatenate([one, other]), np.repeat([0, 1], [400, 300])
    theirs = cross_val_score(RidgeClassifier(alpha=70), x, y, cv=5, scoring="roc_auc").mean()
    assert found.auc == pytest.approx(theirs, abs=0.02)
    assert found.p == 1 / 200


def test_the_auc_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, told = rng.integers(5, size=(60, 3)).astype(float), rng.integers(2, size=(60, 3)).astype(float)
    expected = [roc_auc_score(told[:, i], scores[:, i]) for i in range(3)]
    np.testing.assert_allclose(_aucs(scores, told), expected)


def test_the_p_value_is_exact_for_any_split_by_chance():
    # Rows that come in copies, as permutations leave them: p is uniform on 1/20 to 1, whatever the rows are.
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(40, 4)), 3, axis=0).astype(np.float32)
    p = []
    for seed in range(300):
        order = rng.permutation(len(x))
        p.append(tell_apart(x[order[:70]], x[order[70:]], seed=seed, permutations=19).p)
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.055)  # 3 standard errors
    assert np.mean(p) == pytest.approx(0.525, abs=0.05)


def test_halves_of_one_set_alarm_as_often_as_they_should():
    # At p <= 0.01: 1 of 100; more than 5 of 100 have a probability of 0.0005.
    rng = np.random.default_rng(1)
    x = rng.normal(size=(160, 6)).astype(np.float32)
    p = []
    for seed in range(100):
        order = rng.permutation(160)
        p.append(tell_apart(x[order[:100]], x[order[100:]], seed=seed, permutations=99).p)
    assert np.mean(np.array(p) <= 0.01) <= 0.05
    assert 0.3 < np.mean(p) < 0.7


def test_counts_are_compared_as_scipy_does():
    train, other = {"a": 50, "b": 30, "c": 20}, {"a": 20, "b": 30, "c": 50}
    p, distance = compare_counts(train, other)
    assert p == pytest.approx(chi2_contingency([[50, 30, 20], [20, 30, 50]], correction=False).pvalue)
    assert distance == pytest.approx(0.3)


def test_rare_labels_are_counted_together():
    train = {"a": 500, **{f"rare{i}": 1 for i in range(40)}}
    assert compare_counts(train, {"a": 100, "rare1": 3, "other": 4})[0] > 0.01
    assert compare_counts({"a": 5}, {"a": 3})[0] == 1.0


def test_vectors_of_rows_are_means_over_tokens_and_windows():
    features = Ragged(np.array([[1.0], [3.0], [8.0], [2.0]], dtype=np.float32), np.array([0, 2, 3, 4]))
    encoded = Encoded({}, {}, np.array([0, 0, 1]), 2)
    assert row_vectors(features, encoded).tolist() == [[4.0], [2.0]]


def texts(n, words, seed):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(words, 6)) for _ in range(n)]


COMMON = [f"w{i}" for i in range(100)]


def test_a_shift_is_named_with_its_words_where_there_are_no_features(checked_columns):
    train = {"text": texts(300, COMMON, 0), "label": ["a", "b"] * 150}
    test = {"text": [f"refund {text}" for text in texts(200, COMMON[:40], 1)], "label": ["a", "b"] * 100}
    (finding,) = CHECK.find(checked_columns("text-classification", {"train": train, "test": test}))
    assert finding.severity == "warn"
    assert finding.evidence["split"] == "test"
    assert finding.evidence["auc"] > 0.9
    assert "`refund` (100.0%, in train 0.0%)" in finding.text
    assert all(found.split == "test" for found in finding.rows)


def test_a_split_by_chance_is_no_shift(checked_columns):
    rows = texts(600, COMMON, 3)
    train = {"text": rows[:400], "label": ["a", "b"] * 200}
    test = {"text": rows[400:], "label": ["a", "b"] * 100}
    assert list(CHECK.find(checked_columns("text-classification", {"train": train, "test": test}))) == []


def test_other_shares_of_labels_are_found(checked_columns):
    rows = texts(600, COMMON, 4)
    train = {"text": rows[:400], "label": ["a"] * 300 + ["b"] * 100}
    test = {"text": rows[400:], "label": ["a"] * 100 + ["b"] * 100}
    (finding,) = CHECK.find(checked_columns("text-classification", {"train": train, "test": test}))
    assert finding.evidence["of"] == "labels"
    assert "`a` 75.0% to 50.0%" in finding.text


def test_copies_within_a_group_are_one_observation(checked_columns):
    # Ten groups, each with a text of its own: rows would alarm, ten observations cannot.
    train = {"text": [f"group{i % 5} text" for i in range(200)], "label": ["a", "b"] * 100}
    test = {"text": [f"group{5 + i % 5} text" for i in range(200)], "label": ["a", "b"] * 100}
    assert list(CHECK.find(checked_columns("text-classification", {"train": train, "test": test}))) == []


def test_tweet_hate_shows_its_known_shift(checked_columns, shared):
    import csv

    splits = {}
    for split in ("train", "test"):
        with open(shared / "data" / "tweet_hate" / f"{split}.csv", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["text"].strip()][:1200]
        splits[split] = {"text": [row["text"] for row in rows], "label": [row["label"] for row in rows]}
    found = [
        it
        for it in CHECK.find(checked_columns("text-classification", splits))
        if it.evidence["of"] == "texts"
    ]
    assert found[0].severity == "warn"
    assert "buildthatwall" in found[0].text
