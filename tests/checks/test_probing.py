import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from tunesmith.checks._probing import (
    N_FOLDS,
    Items,
    cross_validated,
    folds_of,
    held_out_logits,
    independent_rows,
    items_of,
)
from tunesmith.encoded import Encoded, Ragged
from tunesmith.tasks import IGNORED, TASKS

TASK = TASKS.get("text-classification")


def test_the_answers_are_those_of_scikit_learn(topics):
    data, _ = topics()
    items = items_of(*data.features("train"))
    folds = folds_of(TASK, data.splits["train"], None, 42)
    logits, strength = held_out_logits(TASK, data.label_schema, items, folds, 42, strength=0.1)
    ours = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    reference = LogisticRegression(C=strength, tol=1e-8, max_iter=1000)
    theirs = cross_val_predict(
        reference, items.features, items.labels, cv=PredefinedSplit(folds), method="predict_proba"
    )
    np.testing.assert_allclose(ours, theirs, atol=5e-3)


def test_no_item_is_answered_by_a_probe_that_saw_it():
    # Labels that nothing explains: whoever saw them would be right, whoever did not is right by chance.
    rng = np.random.default_rng(0)
    features = rng.normal(size=(120, 200)).astype(np.float32)
    labels = rng.integers(2, size=120)
    folds = np.arange(120) % N_FOLDS
    items = Items(np.arange(120), features, labels)
    logits, _ = held_out_logits(TASK, {"labels": ["a", "b"]}, items, folds, 0, strength=1.0)
    assert 0.3 < (logits.argmax(axis=1) == labels).mean() < 0.7


def test_the_strength_is_chosen_by_the_loss(topics):
    data, _ = topics()
    probed = cross_validated(data)
    assert probed.strength >= 0.01
    assert (probed.logits.argmax(axis=1) == probed.items.labels).mean() > 0.9
    assert cross_validated(data) is probed  # computed once


def test_copies_and_groups_are_in_one_fold_and_labels_are_spread(examples_of):
    texts = [f"text {i // 2}" for i in range(200)]
    labels = ["a" if i // 2 % 10 else "b" for i in range(200)]
    rows = examples_of({"text": texts, "label": labels}, extra={"who": [i // 20 for i in range(200)]})
    folds = folds_of(TASK, rows, None, 1)
    assert all(folds[i] == folds[i + 1] for i in range(0, 200, 2))
    assert np.bincount(folds).tolist() == [40] * N_FOLDS
    assert np.bincount(folds[np.array(labels) == "b"]).tolist() == [4] * N_FOLDS
    grouped = folds_of(TASK, rows, "who", 1)
    assert all(len(set(grouped[i : i + 20])) == 1 for i in range(0, 200, 20))


def test_folds_follow_the_rows_wherever_they_stand(examples_of):
    texts, labels = [f"text {i}" for i in range(100)], ["a", "b"] * 50
    rows = examples_of({"text": texts, "label": labels})
    order = np.random.default_rng(0).permutation(100)
    assert (folds_of(TASK, rows, None, 3)[order] == folds_of(TASK, rows.take(order), None, 3)).all()
    assert (folds_of(TASK, rows, None, 3) != folds_of(TASK, rows, None, 4)).any()


def test_independent_rows_have_no_copies(examples_of):
    rows = examples_of({"text": ["x", "X ", "y", "z", "y"], "label": list("aaaaa")})
    chosen = independent_rows(TASK, rows, None, 0, most=10)
    assert sorted({rows.columns["text"][row].strip().lower() for row in chosen}) == ["x", "y", "z"]
    assert len(independent_rows(TASK, rows, None, 0, most=2)) == 2


def test_items_of_words_leave_out_what_has_no_label():
    offsets = np.array([0, 3, 5])
    encoded = Encoded(
        {
            "labels": Ragged(np.array([IGNORED, 1, 0, 2, IGNORED]), offsets),
            "word_of_token": Ragged(np.array([0, 1, 2, 1, 0]), offsets),
        },
        {},
        np.array([4, 7]),
        9,
    )
    items = items_of(Ragged(np.arange(10, dtype=np.float32).reshape(5, 2), offsets), encoded)
    assert items.rows.tolist() == [4, 4, 7]
    assert items.labels.tolist() == [1, 0, 2]
    assert items.words.tolist() == [0, 1, 0]


@pytest.mark.parametrize("n", [10, 49])
def test_a_few_rows_are_not_probed(topics, n):
    assert cross_validated(topics(n)[0]) is None
