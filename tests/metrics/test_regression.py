import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from tunesmith.evaluation.intervals import Method, intervals
from tunesmith.metrics import regression, total

eighths = st.integers(-400, 400).map(lambda i: i / 8)
pairs = st.lists(st.tuples(eighths, eighths), min_size=2, max_size=60).map(np.array)


def scores_of(true, predicted):
    return regression.formula(total(regression.statistics(true, predicted)))


@settings(max_examples=150, deadline=None)
@given(pairs)
def test_scores_are_those_of_scipy_and_scikit_learn(rows):
    true, predicted = rows.T
    scores = scores_of(true, predicted)
    varies = np.ptp(true) > 0 and np.ptp(predicted) > 0
    assert scores["pearson"] == pytest.approx(
        pearsonr(true, predicted).statistic if varies else 0.0, abs=1e-9
    )
    assert scores["spearman"] == pytest.approx(
        spearmanr(true, predicted).statistic if varies else 0.0, abs=1e-9
    )
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(true, predicted))
    assert scores["mae"] == pytest.approx(mean_absolute_error(true, predicted))


@pytest.mark.parametrize(("offset", "scale"), [(1e9, 1.0), (0.0, 1e-120), (0.0, 1e120), (-1e6, 1e-3)])
def test_correlations_do_not_depend_on_unit_and_origin(offset, scale):
    rng = np.random.default_rng(0)
    true = rng.normal(size=50)
    predicted = true + rng.normal(size=50)
    expected, moved = scores_of(true, predicted), scores_of(offset + scale * true, predicted)
    assert moved["pearson"] == pytest.approx(expected["pearson"], abs=1e-6)
    assert moved["spearman"] == pytest.approx(expected["spearman"], abs=1e-12)


def test_statistics_add_up():
    statistics = regression.statistics(*np.random.default_rng(0).normal(size=(2, 30)))
    assert statistics.shape == (30, 13)
    assert np.allclose(total(statistics[:11]) + total(statistics[11:]), total(statistics))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9, -3.7])
def test_without_variance_a_correlation_is_zero(value):
    constant, varied = np.full(7, value), np.arange(7.0)
    for true, predicted in ((constant, varied), (varied, constant), (constant, constant)):
        scores = scores_of(true, predicted)
        assert scores["pearson"] == scores["spearman"] == 0.0


def test_resamples_of_one_example_are_zero_not_infinite():
    statistics = regression.statistics(np.array([0.1, 0.7, 123.4]), np.array([0.3, 0.9, 99.1]))
    scores = regression.formula(statistics * 3)  # each row three times
    assert scores["pearson"].tolist() == scores["spearman"].tolist() == [0.0] * 3
    found = intervals(statistics, regression.formula, {}, Method(200, 0.95, 0))
    assert all(np.isfinite([i.value, i.low, i.high]).all() for i in found.values())


def test_nothing_to_score_is_zero():
    assert all(not score.any() for score in regression.formula(np.zeros((2, 13))).values())
    assert all(score == 0.0 for score in scores_of(np.zeros(0), np.zeros(0)).values())
