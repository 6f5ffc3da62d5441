"""The permutation test has its level, agrees with exact tests, and finds what is there."""

import numpy as np
import pytest
from scipy import stats

from tunesmith.monitoring.permutation import (
    EXCEEDANCES,
    of_counts,
    of_numbers,
    of_vectors,
    permutation_test,
    standardised,
)

LEVEL = 1e-3


def test_a_share_is_tested_as_by_fisher():
    """Two-sided: as likely divisions, or less likely ones, count; both need an excess as large."""
    rng = np.random.default_rng(0)
    for n_window in (12, 20, 30):
        reference, window = (rng.random(200) < 0.1), np.arange(60) < n_window
        features = of_numbers(np.concatenate([reference, window]).astype(np.float64))
        p = permutation_test(features, 200, level=LEVEL).p
        table = [[reference.sum(), 200 - reference.sum()], [n_window, 60 - n_window]]
        exact = stats.fisher_exact(table).pvalue
        assert p == pytest.approx(exact, rel=1.2, abs=LEVEL), n_window


def test_labels_are_tested_as_by_chi_square():
    rng = np.random.default_rng(1)
    reference, window = rng.choice(3, 900, p=[0.5, 0.3, 0.2]), rng.choice(3, 300, p=[0.46, 0.32, 0.22])
    features = of_counts(np.eye(3)[np.concatenate([reference, window])])
    p = permutation_test(features, 900, level=LEVEL).p
    table = [np.bincount(side, minlength=3) for side in (reference, window)]
    assert p == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, rel=0.7)


def test_the_p_value_is_that_of_all_divisions():
    values = np.array([0.1, 0.4, 0.5, 0.9, 1.3, 2.0, 2.2, 3.1])
    features = of_numbers(values)
    found = permutation_test(features, 5, level=0.0005).p
    centred = features - features.mean(axis=0)

    def distance(x):
        return (centred[np.isin(values, x)].sum(axis=0) ** 2).sum()

    from itertools import combinations

    every = np.array([distance(x) for x in combinations(values, 3)])
    exact = (every >= distance(values[5:]) * (1 - 1e-9)).mean()
    assert found == pytest.approx(exact, rel=0.8)  # the sequential p-value rests on EXCEEDANCES divisions
    assert EXCEEDANCES == 10


@pytest.mark.parametrize("kind", ["vectors", "numbers", "counts"])
def test_windows_without_drift_have_small_p_values_as_often_as_they_may(kind):
    rng, n = np.random.default_rng(2), 300
    p = []
    for _ in range(n):
        if kind == "vectors":
            x = of_vectors(rng.standard_normal((90, 6)) * np.arange(1, 7), 0)
        elif kind == "numbers":
            x = of_numbers(np.round(rng.exponential(size=90), 1))
        else:
            x = of_counts(np.eye(5)[rng.integers(0, 5, 90)])
        p.append(permutation_test(x, 60, level=0.01).p)
    for level in (0.01, 0.05, 0.2):
        allowed = stats.binom.ppf(0.9999, n, level)
        assert (np.array(p) <= level).sum() <= allowed, (kind, level)
    assert (np.array(p) <= 0.2).mean() > 0.1  # and it is no test that never rejects


def test_drift_in_any_form_is_found_at_a_small_level():
    rng = np.random.default_rng(3)
    reference, window = rng.standard_normal((400, 20)), rng.standard_normal((200, 20))
    window[:50] += 2
    both = np.concatenate([reference, window])
    assert permutation_test(of_vectors(both, 0), 400, level=LEVEL).p <= LEVEL
    # A spread that has changed has the same mean.
    wide = np.concatenate([reference[:, 0], 3 * rng.standard_normal(200)])
    assert permutation_test(of_numbers(wide), 400, level=LEVEL).p <= LEVEL


def test_neither_a_constant_nor_the_scale_of_a_feature_matters():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((120, 4))
    one, other = (of_vectors(standardised(y), 0) for y in (x, x * np.array([1, 50, 1e-3, 1]) + 7))
    assert other == pytest.approx(one, abs=1e-4)
    assert permutation_test(one, 80, level=LEVEL).p > LEVEL
    same = of_vectors(standardised(np.ones((120, 4))), 0)
    assert permutation_test(same, 80, level=LEVEL).p == 1.0
    assert permutation_test(of_numbers(np.zeros(60)), 30, level=LEVEL).p == 1.0


def test_the_result_depends_on_the_rows_alone():
    rng = np.random.default_rng(5)
    x = of_vectors(rng.standard_normal((90, 5)), 0)
    assert permutation_test(x, 60, level=LEVEL) == permutation_test(x.copy(), 60, level=LEVEL)
