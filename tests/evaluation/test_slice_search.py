import numpy as np
import pytest
from scipy import sparse, stats

from tunesmith.evaluation import slice_search
from tunesmith.evaluation.slice_search import weakness


def random_sets(rng, n, n_sets):
    """Sets of 20 rows to half of the rows; many overlap."""
    sizes = np.exp(rng.uniform(np.log(20), np.log(n / 2), size=n_sets)).astype(int)
    sets = np.zeros((n_sets, n))
    for number, size in enumerate(sizes):
        sets[number, rng.choice(n, size, replace=False)] = 1
    return sets


def runs_that_report(draw, *, runs, seed):
    """In how many of the runs anything is found at 5 %, with the correction and without."""
    corrected = uncorrected = 0
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        residuals, sets, groups = draw(rng)
        statistic, p = weakness(residuals, sparse.csr_matrix(sets), rng, groups=groups)
        corrected += p.min() <= 0.05
        uncorrected += stats.norm.sf(statistic.max()) <= 0.05
    return corrected, uncorrected


@pytest.fixture
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(slice_search, "RESAMPLES", 200)


def rare_errors(rng):
    return (rng.random(300) < 0.93).astype(float), random_sets(rng, 300, 30), None


def long_rows_vary_more(rng):
    """Rows with one to hundreds of decisions, and sets of the longest and the shortest rows."""
    sizes = rng.lognormal(1, 1, 300).astype(int) + 1
    right = rng.binomial(sizes, rng.beta(9, 1, 300))
    by_length = [sizes >= np.quantile(sizes, q) for q in (0.5, 0.75, 0.9)]
    return right - 0.9 * sizes, np.concatenate([random_sets(rng, 300, 20), by_length]), None


def rows_of_one_owner_are_alike(rng):
    groups = np.repeat(np.arange(80), 5)
    right = rng.random(400) < rng.beta(4, 0.4, 80)[groups]
    return right.astype(float), random_sets(rng, 80, 20)[:, groups], groups


@pytest.mark.parametrize("draw", [rare_errors, long_rows_vary_more, rows_of_one_owner_are_alike])
def test_where_nothing_is_weak_at_most_one_search_in_twenty_reports_anything(draw, fewer_resamples):
    corrected, uncorrected = runs_that_report(draw, runs=120, seed=7)
    assert corrected <= 12  # more has a probability of 1 % at a level of 5 %
    assert uncorrected >= 60, "without the correction, most searches report something"


def test_a_weak_set_is_found_and_the_others_are_not(fewer_resamples):
    found = []
    for run in range(20):
        rng = np.random.default_rng(run)
        sets = random_sets(rng, 1000, 50)
        sets[0] = np.arange(1000) < 80
        right = rng.random(1000) < np.where(sets[0] > 0, 0.75, 0.95)
        _, p = weakness(right.astype(float), sparse.csr_matrix(sets), rng)
        found.append((p[0] <= 0.05, (p[1:] <= 0.05).sum()))
    assert sum(is_found for is_found, _ in found) >= 19
    assert sum(others for _, others in found) <= 10


def test_a_single_set_is_judged_as_by_welch():
    rng = np.random.default_rng(1)
    values, inside = rng.normal(size=800), np.arange(800) < 300
    for shift in (0.0, 0.1, 0.15):
        shifted = values - shift * inside
        statistic, p = weakness(shifted, sparse.csr_matrix(inside[None].astype(float)), rng)
        welch = stats.ttest_ind(shifted[~inside], shifted[inside], equal_var=False, alternative="greater")
        assert statistic[0] == pytest.approx(welch.statistic, abs=0.05)
        assert p[0] == pytest.approx(welch.pvalue, abs=0.03)


def test_p_values_are_those_of_the_step_down_maximum():
    """Against Westfall and Young's algorithm written out."""
    rng = np.random.default_rng(3)
    observed, resampled = rng.normal(size=6) + 1, rng.normal(size=(6, 1000))
    expected, order = np.empty(6), np.argsort(-observed)
    greatest = 0.0
    for position, number in enumerate(order):
        maxima = resampled[order[position:]].max(axis=0)
        greatest = max(greatest, (1 + np.sum(maxima >= observed[number])) / 1001)
        expected[number] = greatest
    assert slice_search._step_down(observed, iter([resampled])) == pytest.approx(expected)
