import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse, stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from tunesmith.evaluation import significance
from tunesmith.evaluation.significance import holm, mcnemar, permutation
from tunesmith.metrics import classification, regression, total

RNG = np.random.default_rng(0)


def mean(sums):
    return sums[..., 0] / 40


def f1_macro(sums):
    return classification.formula(sums)["f1_macro"]


@given(st.integers(0, 80), st.integers(0, 80))
def test_mcnemar_is_the_mid_p_value_or_nearly_the_exact_one(only_first, only_second):
    exact = reference_mcnemar([[5, only_first], [only_second, 5]], exact=True).pvalue
    n = only_first + only_second
    mid = 1.0 if only_first == only_second else exact - stats.binom.pmf(only_first, n, 0.5)
    assert mcnemar(only_first, only_second).p == pytest.approx(min(max(mid, exact / 1.08), 1.0), abs=1e-12)
    assert mcnemar(only_first, only_second) == mcnemar(only_second, only_first)


def rejects_at_most(n):
    """The largest number of rows for the weaker model with which n rows that differ are significant at 5 %."""
    low, high = -1, n // 2
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if mcnemar(middle, n - middle).p <= 0.05 else (low, middle - 1)
    return low


def test_the_level_of_mcnemar_is_at_most_5_4_percent_and_from_50_rows_at_least_3():
    """Exactly, for every number of rows that differ, which says more than a simulation."""
    sizes = np.arange(1, 501)
    levels = np.array([2 * stats.binom.cdf(rejects_at_most(n), n, 0.5) for n in sizes])
    assert levels.max() <= 0.054
    assert levels[sizes >= 50].min() >= 0.03


@pytest.mark.parametrize("n", [8, 20, 50, 60, 100, 300])
def test_ten_thousand_simulations_under_the_null(n):
    drawn = np.random.default_rng(n).binomial(n, 0.5, size=10_000)
    border = rejects_at_most(n)
    level = np.mean(np.minimum(drawn, n - drawn) <= border)
    assert level <= 0.056
    assert n < 50 or level >= 0.03


@pytest.mark.parametrize("n", range(1, 13))
def test_holm_is_that_of_statsmodels(n):
    p_values = [*(RNG.random(n) ** 3), 0.01, 0.01]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_no_test_needs_no_correction():
    assert holm([]) == []


def test_the_permutation_test_of_a_mean_is_that_of_scipy():
    values, second = RNG.normal(0, 1, (20, 1)), RNG.normal(0, 1, (40, 1))
    first = second + 0.2 + np.concatenate([values, -values])  # differences without skewness
    ours = permutation(first, second, mean, 0, 20_000).p
    theirs = stats.permutation_test(
        (first[:, 0], second[:, 0]),
        lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        permutation_type="samples", vectorized=True, n_resamples=20_000, rng=np.random.default_rng(1),
    ).pvalue  # fmt: skip
    assert ours == pytest.approx(theirs, abs=0.015)


def test_differences_of_a_skewed_kind_are_judged_more_carefully():
    """Losses that are mostly a little smaller and seldom much larger: t alone rejects 7 % of equal models."""
    rng, rejected, sets = np.random.default_rng(8), 0, 1_000
    for number in range(sets):
        first = rng.exponential(1.0, (40, 1))
        rejected += permutation(first, np.ones((40, 1)), mean, number, 199).p <= 0.05
    assert rejected / sets <= 0.056


def test_on_right_and_wrong_answers_it_agrees_with_mcnemar():
    first, second = np.ones((40, 1)), np.ones((40, 1))
    first[:4], second[4:17] = 0, 0
    assert permutation(first, second, mean, 0, 40_000).p == pytest.approx(mcnemar(13, 4).p, abs=0.003)


def predictions(gold, rng, k=3):
    return np.where(rng.random(len(gold)) < 0.7, gold, rng.integers(0, k, len(gold)))


def test_the_order_of_the_rows_and_sparse_statistics_change_nothing():
    gold = RNG.integers(0, 3, 300)
    first, second = (classification.statistics(gold, predictions(gold, RNG), 3) for _ in range(2))
    order = RNG.permutation(300)
    found = permutation(first, second, f1_macro, 0, 500)
    assert permutation(first[order], second[order], f1_macro, 0, 500) == found
    assert permutation(first.toarray(), second.toarray(), f1_macro, 0, 500).p == found.p


def test_equal_models_and_clear_differences():
    gold = RNG.integers(0, 3, 200)
    right, wrong = (classification.statistics(gold, answer, 3) for answer in (gold, (gold + 1) % 3))
    assert permutation(right, right, f1_macro, 0).p == 1.0
    assert permutation(right, wrong, f1_macro, 0).p < 0.0002


def test_more_rows_than_are_permuted_one_by_one_are_joined():
    values = np.random.default_rng(3).normal(0, 1, (25_000, 1))
    shifted = values + np.random.default_rng(4).normal(0.016, 1, values.shape)
    found = permutation(sparse.csr_matrix(values), sparse.csr_matrix(shifted), mean, 0, 1_000).p
    assert found == pytest.approx(stats.ttest_rel(values[:, 0], shifted[:, 0]).pvalue, abs=0.03)


def pearson(sums):
    return regression.formula(sums)["pearson"]


def f1(sums):
    return 2 * sums[..., 2] / np.maximum(sums[..., 0] + sums[..., 1], 1)


def test_equally_good_models_that_err_in_different_ways_are_not_told_apart_too_often():
    """One misses half of the entities, the other invents as many as balance that: both have an F1 of 2/3."""
    rng, rejected, sets = np.random.default_rng(5), 0, 1_000
    for number in range(sets):
        true = rng.poisson(1.5, 60)
        misses, invents = rng.binomial(true, 0.5), rng.binomial(true, 0.9)
        first = np.stack([true, misses, misses], 1).astype(float)
        second = np.stack([true, invents + rng.poisson(1.2, 60), invents], 1).astype(float)
        rejected += permutation(first, second, f1, number, 199).p <= 0.05
    assert rejected / sets <= 0.056 + 2 * np.sqrt(0.05 * 0.95 / sets)


def test_of_few_rows_the_spread_is_also_that_of_rows_that_are_left_out():
    """For a correlation, derivatives underestimate it, and most with few rows."""
    ratios = []
    for n in (20, 100, 400):
        rng = np.random.default_rng(n)
        gold = rng.normal(size=n)
        answers = [gold + rng.normal(size=n), gold + rng.standard_t(4, size=n)]
        first, second = (regression.statistics(gold, answer) for answer in answers)
        sums, keep = (total(first), total(second)), ~np.eye(n, dtype=bool)
        found = significance._left_out_spread(first, second, sums, pearson)
        by_hand = [np.subtract(*(stats.pearsonr(gold[k], a[k])[0] for a in answers)) for k in keep]
        assert found == pytest.approx(np.std(by_hand), rel=1e-6)
        scale = total(abs(first)) + total(abs(second))
        slopes = [significance.gradient_of(pearson, at, scale) for at in sums]
        ratios.append(found / np.std(first @ slopes[0] - second @ slopes[1]))
    assert min(ratios) > 1.0
    assert ratios[0] > 1.1 > max(ratios[1:])
    many = np.ones((501, first.shape[1]))
    assert significance._left_out_spread(many, many, (total(many), total(many)), pearson) == 0.0
