import numpy as np
import pytest
from scipy import stats

from tunesmith.evaluation.intervals import bootstrap
from tunesmith.metrics import classification, total


def accuracy_interval(gold, predicted, k=2, **how):
    statistics = classification.statistics(gold, predicted, k)
    how = {"samples": 2000, "confidence": 0.95, "seed": 1, **how}
    return bootstrap(statistics, classification.formula, **how)


def test_value_is_that_of_the_rows_and_the_interval_that_of_the_binomial():
    gold = np.zeros(400, dtype=np.int64)
    predicted = np.where(np.arange(400) < 320, 0, 1)
    found = accuracy_interval(gold, predicted)["accuracy"]
    assert found.value == 0.8
    low, high = stats.binom.ppf([0.025, 0.975], 400, 0.8) / 400
    assert found.low == pytest.approx(low, abs=0.006)
    assert found.high == pytest.approx(high, abs=0.006)


def test_it_agrees_with_scipy_on_a_metric_that_is_no_mean():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 3, 300)
    predicted = np.where(rng.random(300) < 0.7, gold, rng.integers(0, 3, 300))
    found = accuracy_interval(gold, predicted, k=3)["f1_macro"]

    def f1(rows):
        rows = rows.astype(int)
        sums = total(classification.statistics(gold[rows], predicted[rows], 3))
        return float(classification.formula(sums)["f1_macro"])

    theirs = stats.bootstrap(
        (np.arange(300),), f1, method="percentile", n_resamples=2000, vectorized=False, rng=0
    ).confidence_interval
    assert found.low == pytest.approx(theirs.low, abs=0.012)
    assert found.high == pytest.approx(theirs.high, abs=0.012)


def test_it_is_a_function_of_the_seed_and_of_the_confidence():
    rng = np.random.default_rng(0)
    gold, predicted = rng.integers(0, 2, 200), rng.integers(0, 2, 200)
    one = accuracy_interval(gold, predicted)
    assert one == accuracy_interval(gold, predicted)
    wider = accuracy_interval(gold, predicted, confidence=0.99)["accuracy"]
    assert wider.high - wider.low > one["accuracy"].high - one["accuracy"].low


def test_a_million_rows_cost_little():
    gold = np.tile([0, 1], 500_000)
    found = accuracy_interval(gold, np.zeros(1_000_000, dtype=np.int64))["accuracy"]
    assert found.value == 0.5
    assert 0.0015 < found.high - found.low < 0.0025
