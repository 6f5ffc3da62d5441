import numpy as np
import pytest

from tunesmith.evaluation.clusters import Clusters
from tunesmith.metrics import classification, regression


@pytest.fixture
def statistics():
    rng = np.random.default_rng(0)
    return classification.statistics(rng.integers(0, 3, 300), rng.integers(0, 3, 300), 3)


def test_equal_rows_are_counted_once(statistics):
    found = Clusters.of(statistics, None)
    assert len(found.counts) == 9
    assert (found.n, found.n_effective) == (300, 300.0)
    assert np.allclose(found.total(), statistics.toarray().sum(axis=0))


def test_groups_are_added_up(statistics):
    groups = np.array([7] * 10 + list(range(100, 390)))
    found = Clusters.of(statistics, groups)
    assert found.n == 291
    assert found.n_effective == pytest.approx(300**2 / (10**2 + 290))
    assert np.allclose(found.total(), statistics.toarray().sum(axis=0))
    first = statistics[:10].toarray().sum(axis=0)
    assert any(np.allclose(row, first) for row in found.sums.toarray())


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "f1_weighted"])
def test_influence_is_what_leaving_a_row_out_changes(statistics, metric):
    found = Clusters.of(statistics, None)
    influence = found.influence(lambda sums: classification.formula(sums)[metric])
    whole = found.total()
    value = classification.formula(whole)[metric]
    rows = found.sums.toarray()
    without = np.array([classification.formula(whole - row)[metric] for row in rows])
    assert np.allclose(influence, value - without, atol=2e-4)
    assert influence @ found.counts == pytest.approx(0.0, abs=1e-9)


def test_influence_on_a_correlation():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    found = Clusters.of(regression.statistics(x, x + rng.normal(size=200)), None)
    influence = found.influence(lambda sums: regression.formula(sums)["pearson"])
    r = regression.formula(found.total())["pearson"]
    spread = float(np.sqrt((influence**2) @ found.counts))
    assert spread == pytest.approx((1 - r**2) / np.sqrt(200), rel=0.2)
