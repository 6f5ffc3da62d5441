from dataclasses import replace

import numpy as np
import pytest

from tunesmith.evaluation.analyses import ANALYSES
from tunesmith.evaluation.neighbours import TrainingVectors
from tunesmith.evaluation.suspected_labels import find_suspected
from tunesmith.testing.answered import answered, classified, random_rows, random_texts

NAMES = ("a", "b", "c")


def of_classes(n, rng, *, flipped=0.0, unsure=0.0):
    """Rows around the centres of their classes; of some, the true label is given wrong.

    Returns:
        The scored rows, their vectors and which are flipped; the model knows the class and not the given label.
    """
    true = rng.integers(3, size=n)
    vectors = (6 * np.eye(8)[true] + rng.normal(size=(n, 8))).astype(np.float32)
    is_flipped = rng.random(n) < flipped
    # `classified` answers wrong rows with the label after the given one, so that is the true one here.
    given = np.where(is_flipped, (true - 1) % 3, true)
    margins = np.where(rng.random(n) < unsure, 0.5, 6.0)
    return classified(random_texts(n, rng), given, ~is_flipped, margins=margins), vectors, is_flipped


def training_of(n, rng, file="train.csv"):
    true = rng.integers(3, size=n)
    vectors = (6 * np.eye(8)[true] + rng.normal(size=(n, 8))).astype(np.float32)
    rows = classified(random_texts(n, rng), true, np.ones(n, bool), file=file)
    return TrainingVectors.of(vectors, rows.examples, rows.gold)


def find(final, vectors=None, training=None, **known):
    return ANALYSES.get("errors").find(
        answered(final, features={"final": vectors}.get, training=lambda: training, **known)
    )


def test_wrong_labels_are_suspected_and_the_right_ones_are_not():
    rng = np.random.default_rng(0)
    final, vectors, is_flipped = of_classes(600, rng, flipped=0.05)
    training = training_of(900, rng)
    found = {each.row for each in find_suspected(final, vectors, training)}
    planted = set(np.flatnonzero(is_flipped).tolist())
    assert len(found & planted) >= 0.9 * len(planted)
    assert len(found - planted) <= 0.1 * len(found)


def test_the_model_alone_suspects_nothing():
    """The model is as sure, and the training rows near its errors have the labels that the test rows have."""
    rng = np.random.default_rng(1)
    final, _, _ = of_classes(300, rng, flipped=0.1)
    given = np.array([NAMES.index(label) for label in final.gold])
    vectors = (6 * np.eye(8)[given] + rng.normal(size=(300, 8))).astype(np.float32)
    assert find_suspected(final, vectors, training_of(900, rng)) == []


def test_an_unsure_model_suspects_nothing():
    rng = np.random.default_rng(2)
    final, vectors, _ = of_classes(300, rng, flipped=0.1, unsure=1.1)
    assert find_suspected(final, vectors, training_of(900, rng)) == []


def test_each_of_the_worst_errors_has_the_training_rows_nearest_to_it():
    rng = np.random.default_rng(3)
    final, vectors, _ = of_classes(300, rng, flipped=0.1)
    training = training_of(400, rng)
    entry = find(final, vectors, training)
    assert (entry["wrong"], entry["of"]) == (sum(line["correct"] is False for line in final.lines()), 300)
    assert len(entry["worst"]) == 20
    rows = list(final.examples.row_ids())
    for worst in entry["worst"][:5]:
        expected, _ = training.nearest(vectors[[rows.index(worst["row"])]], 3)
        assert [near["row"] for near in worst["nearest"]] == [training.rows[i] for i in expected[0]]
        assert all(
            near["text"] == training.texts[training.rows.index(near["row"])] for near in worst["nearest"]
        )
    assert entry["suspected"]["rows"][0]["agreeing"] >= 8
    assert entry["suspected"]["rows"][0]["gold"] != entry["suspected"]["rows"][0]["proposed"]


def test_without_training_rows_suspicion_is_unknown_and_not_zero():
    entry = find(random_rows(100, np.random.default_rng(0), right=0.8))
    assert entry["suspected"] is None
    assert entry["worst"] == []


def test_fixes_are_counted_and_the_largest_comes_first():
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1, 2], 100)
    is_right = np.ones(300, bool)
    is_right[:30] = False  # 30 rows of `a` are answered `b`
    is_right[200:204] = False  # 4 rows of `c` are answered `a`
    final = classified(random_texts(300, rng), labels, is_right)
    details = {"per_class": {"labels": list(NAMES), "train": [50, 20, 5]}}
    entry = find(final, metrics={"details": details})
    by_kind = {}
    for fix in entry["fixes"]:
        by_kind.setdefault(fix["kind"], []).append(fix)
    merged = by_kind["merge_labels"]
    assert [(fix["labels"], fix["errors"]) for fix in merged] == [(["a", "b"], 30), (["a", "c"], 4)]
    (more,) = by_kind["more_rows"]
    assert (more["label"], more["errors"]) == ("c", 4)
    assert "5 training rows" in more["evidence"]
    assert [fix["errors"] for fix in entry["fixes"]] == sorted(
        (f["errors"] for f in entry["fixes"]), reverse=True
    )


@pytest.mark.parametrize("n_labels", [2, 3])
def test_two_labels_are_not_made_one(n_labels):
    rng = np.random.default_rng(7)
    of_three = classified(random_texts(400, rng), rng.integers(2, size=400), rng.random(400) < 0.7)
    evaluated = replace(of_three.evaluated, outputs=rng.normal(size=(400, n_labels)).astype(np.float32))
    final = replace(of_three, evaluated=evaluated, label_schema={"labels": list(NAMES[:n_labels])})
    fixes = ANALYSES.get("errors").find(answered(final))["fixes"]
    assert any(fix["kind"] == "merge_labels" for fix in fixes) is (n_labels > 2)


def test_a_weak_slice_gives_as_many_errors_as_it_has_beyond_the_others():
    rng = np.random.default_rng(5)
    shop = np.array(["north"] * 200 + ["south"] * 800)
    is_right = np.ones(1000, bool)
    is_right[:80] = False
    is_right[200:240] = False
    final = classified(
        random_texts(1000, rng), rng.integers(3, size=1000), is_right, extra={"shop": shop.tolist()}
    )
    weak_slices = ANALYSES.get("weak_slices").find(answered(final))
    errors = ANALYSES.get("errors").find(answered(final, metrics={"weak_slices": weak_slices}))
    (slice_,) = weak_slices["found"]
    (fix,) = [fix for fix in errors["fixes"] if fix["kind"] == "weak_slice"]
    assert slice_["name"] == "whose `shop` is `north`"
    assert fix["errors"] == 70  # 80 of 200 are wrong, and 40 of the other 800: 10 of 200 would be
    assert slice_["rest"] == pytest.approx(0.95)


def test_several_labels_are_suspected_one_by_one():
    from tunesmith.evaluation.suspected_labels import _several_labels

    rng = np.random.default_rng(6)
    gold = rng.random((200, 3)) < 0.4
    given = gold.copy()
    given[0, 1], given[1, 2] = not gold[0, 1], not gold[1, 2]
    probabilities = np.where(gold, 0.97, 0.02)
    probabilities[:2] = np.where(gold[:2], 0.99, 0.01)  # above the mean of the others
    found = _several_labels(NAMES, probabilities, given, np.where(gold, 10, 0), 10)
    assert sorted((each.row, each.label) for each in found) == [(0, "b"), (1, "c")]
    by_row = {each.row: each.proposed for each in found}
    assert by_row[0] == [name for name, on in zip(NAMES, gold[0], strict=True) if on]
