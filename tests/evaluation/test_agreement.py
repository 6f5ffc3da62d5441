"""Two models on the same rows."""

from dataclasses import replace

import numpy as np
import pytest

from tunesmith.data.examples import Examples
from tunesmith.encoded import Encoded
from tunesmith.evaluation.agreement import compare
from tunesmith.evaluation.scoring import Scored
from tunesmith.metrics import METRICS, SHARE, Metric
from tunesmith.recipe import EvaluateRecipe
from tunesmith.tasks import TASKS, EvalPredictions

HOW = EvaluateRecipe(bootstrap_samples=400)
N = 200


def scored(task, label_schema, columns, labels, kept):
    examples = Examples(columns, ("t.csv",), np.zeros(N, np.int32), np.arange(N))
    encoded = Encoded.of({"input_ids": [[1]] * N}, {"labels": labels})
    return Scored(TASKS.get(task), label_schema, examples, EvalPredictions(columns, encoded, kept))


@pytest.fixture
def classified():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=N)
    columns = {"text": ["x"] * N, "label": [f"l{i}" for i in labels]}
    kept = 3 * np.eye(3, dtype=np.float32)[labels]
    return scored("text-classification", {"labels": ["l0", "l1", "l2"]}, columns, labels, kept)


@pytest.fixture
def scores():
    values = np.random.default_rng(1).normal(10, 2, size=(N, 1)).astype(np.float32)
    columns = {"text": ["x"] * N, "score": values[:, 0].tolist()}
    return scored("text-regression", {"mean": 10.0, "std": 2.0}, columns, values, values)


def other(one, kept):
    return replace(one, evaluated=EvalPredictions(one.evaluated.columns, one.evaluated.encoded, kept))


def test_a_model_agrees_with_itself(classified):
    found = compare(classified, classified, HOW, seed=0)
    assert (found.rows, found.share, found.largest_difference) == (N, 1.0, 0.0)
    assert found.first == found.second
    # Two models that agree on 200 rows may differ on others: by the rule of three, on 3 of 200.
    assert found.drop.value == 0.0
    assert found.drop.high == -found.drop.low == pytest.approx(3 / N, rel=0.1)


def test_what_changed_is_counted_and_the_drop_is_paired(classified):
    kept = classified.evaluated.outputs.copy()
    kept[:10] = np.roll(kept[:10], 1, axis=1)
    found = compare(classified, other(classified, kept), HOW, seed=0)
    assert found.share == pytest.approx(0.95)
    assert found.metric == "accuracy"
    assert found.first.value == 1.0
    assert found.second.value == pytest.approx(0.95)
    assert found.drop.value == pytest.approx(0.05)
    # The first is right everywhere, so that the drop is the share of errors of the second.
    assert found.drop.low == pytest.approx(1 - found.second.high, abs=0.015)
    assert found.drop.high == pytest.approx(1 - found.second.low, abs=0.015)
    before, after = np.exp(3) / (np.exp(3) + 2), 1 / (np.exp(3) + 2)
    assert found.largest_difference == pytest.approx(before - after, abs=1e-6)


def test_two_that_err_as_often_elsewhere_differ_in_answers_and_not_in_the_metric(classified):
    kept = classified.evaluated.outputs
    first, second = kept.copy(), kept.copy()
    first[:10] = np.roll(kept[:10], 1, axis=1)
    second[10:20] = np.roll(kept[10:20], 1, axis=1)
    found = compare(other(classified, first), other(classified, second), HOW, seed=0)
    assert found.share == pytest.approx(0.9)
    assert found.drop.value == pytest.approx(0.0, abs=1e-12)
    assert found.drop.low < 0 < found.drop.high


def test_numbers_agree_when_they_are_near(scores):
    spread = scores.evaluated.outputs.std()
    kept = scores.evaluated.outputs.copy()
    kept[:100] += 0.04 * spread
    kept[100:120] += 0.06 * spread
    found = compare(scores, other(scores, kept), HOW, seed=0)
    assert found.share == pytest.approx(0.9)
    assert found.largest_difference == pytest.approx(0.06 * spread, rel=1e-3)


def test_where_less_is_better_more_is_a_drop(classified):
    worse = np.roll(classified.evaluated.outputs, 1, axis=1)
    with METRICS.replaced("accuracy", Metric("accuracy", "minimize", SHARE, "accuracy")):
        found = compare(classified, other(classified, worse), HOW, seed=0)
    assert found.drop.value == -1.0
