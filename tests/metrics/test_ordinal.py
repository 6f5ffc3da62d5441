"""Distances of ordered labels: scikit-learn gives the same values."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from tunesmith.metrics import ordinal, total

ORDER = np.array([2, 0, 1, 3])


@pytest.mark.parametrize("seed", range(4))
def test_both_metrics_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    true = rng.integers(4, size=200)
    predicted = np.where(rng.random(200) < 0.6, true, rng.integers(4, size=200))
    sums = total(ordinal.statistics(ORDER[true], ORDER[predicted]))
    counts = [np.bincount(labels, minlength=4).astype(float) for labels in (true, predicted)]
    found = ordinal.formula(sums, *counts, ORDER)
    assert found["label_distance"] == pytest.approx(mean_absolute_error(ORDER[true], ORDER[predicted]))
    expected = cohen_kappa_score(ORDER[true], ORDER[predicted], weights="quadratic", labels=range(4))
    assert found["quadratic_kappa"] == pytest.approx(expected)


def test_many_sums_at_once_and_a_single_label():
    sums = np.array([[3.0, 5.0], [0.0, 0.0]])
    true = np.array([[2.0, 2.0, 0.0], [4.0, 0.0, 0.0]])
    found = ordinal.formula(sums, true, true, np.arange(3))
    assert found["quadratic_kappa"].shape == (2,)
    assert found["quadratic_kappa"][1] == 0.0
    assert found["label_distance"].tolist() == [0.75, 0.0]
