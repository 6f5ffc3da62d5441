import numpy as np

from tunesmith.evaluation.baselines import TrainingRows, joined_texts, majority, tfidf_logistic_regression
from tunesmith.testing.tiny import tiny_rows


def rows(n, seed):
    found = tiny_rows(n, seed=seed)
    return [row["text"] for row in found], np.array([int(row["label"] == "colour") for row in found])


def test_majority_is_the_most_frequent_label():
    train = TrainingRows(["a"] * 5, np.array([2, 0, 2, 1, 2]), 4)
    assert majority(train, ["x", "y"]).argmax(-1).tolist() == [2, 2]


def test_tfidf_learns_and_converges():
    texts, labels = rows(300, 1)
    other, gold = rows(100, 2)
    predicted = tfidf_logistic_regression(TrainingRows(texts, labels, 2), other).argmax(-1)
    assert (predicted == gold).mean() > 0.9


def test_tfidf_never_predicts_a_class_without_rows():
    texts, labels = rows(60, 1)
    logits = tfidf_logistic_regression(TrainingRows(texts, labels * 2, 3), texts)
    assert set(logits.argmax(-1).tolist()) <= {0, 2}


def test_pairs_are_joined():
    assert joined_texts({"text": ["a"], "text_pair": ["b"], "label": ["c"]}) == ["a\nb"]
