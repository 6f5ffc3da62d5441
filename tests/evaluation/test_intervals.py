import numpy as np
import pytest
from scipy import stats

from tunesmith.evaluation.intervals import Method, intervals, paired_drop
from tunesmith.metrics import classification, language_modelling, multi_label, spans

METHOD = Method(samples=1000, confidence=0.95, seed=1)


def of_classes(gold, predicted, k=2, method=METHOD, groups=None):
    statistics = classification.statistics(gold, predicted, k)
    return intervals(statistics, classification.formula, classification.shares(k), method, groups=groups)


def right(n_right, n, **how):
    gold = np.zeros(n, dtype=np.int64)
    return of_classes(gold, np.where(np.arange(n) < n_right, 0, 1), **how)["accuracy"]


def test_a_proportion_has_the_interval_of_agresti_and_coull():
    found = right(320, 400)
    z = stats.norm.ppf(0.975)
    assert found.value == 0.8
    centre = (320 + z**2 / 2) / (400 + z**2)
    half = z * np.sqrt(centre * (1 - centre) / (400 + z**2))
    assert found.low == pytest.approx(centre - half, abs=1e-9)
    assert found.high == pytest.approx(centre + half, abs=1e-9)


@pytest.mark.parametrize(("n_right", "n"), [(12, 12), (0, 12), (1, 1), (200, 200), (199, 200), (3, 4)])
def test_no_interval_of_a_share_is_a_point_and_each_holds_its_value(n_right, n):
    for found in of_classes(np.zeros(n, np.int64), np.where(np.arange(n) < n_right, 0, 1)).values():
        assert 0.0 <= found.low <= found.value <= found.high <= 1.0
        assert found.high - found.low > 1 / n / 2
    assert right(12, 12).low == pytest.approx(0.718, abs=0.001)


def test_a_perfect_multi_label_model_is_near_one_in_macro_f1_too():
    """A label that a resample lacks does not count 0 there: it cannot be wrong."""
    labels = np.zeros((60, 6), dtype=np.int64)
    labels[np.arange(60), np.repeat(np.arange(6), [40, 12, 3, 2, 2, 1])] = 1
    found = intervals(
        multi_label.statistics(labels, labels), multi_label.formula, multi_label.shares(6), METHOD
    )
    assert found["f1_macro"].value == found["f1_macro"].high == 1.0
    assert 0.6 < found["f1_macro"].low < found["f1_micro"].low < 1.0  # two rows say little of a label
    assert found["f1_micro"].low == pytest.approx(found["exact_match"].low, abs=1e-6)


def test_labels_that_never_occur_bound_the_macro_average_of_several_labels():
    labels = np.repeat(np.eye(4, dtype=np.int64)[:3], 20, axis=0)
    found = intervals(
        multi_label.statistics(labels, labels), multi_label.formula, multi_label.shares(4), METHOD
    )["f1_macro"]
    assert found.value == found.high == 0.75
    assert 0.65 < found.low < 0.75


def test_nothing_to_decide_says_nothing():
    empty = spans.statistics([[]] * 5, [[]] * 5, ["PER"])
    found = intervals(empty, spans.formula, spans.shares(1), METHOD)["f1"]
    assert (found.value, found.low, found.high) == (0.0, 0.0, 1.0)


def test_rows_of_one_group_that_agree_count_as_one_row():
    groups = np.repeat(np.arange(40), 10)
    gold = np.zeros(400, dtype=np.int64)
    predicted = (groups < 8).astype(np.int64)
    together = of_classes(gold, predicted, groups=groups)["accuracy"]
    apart = of_classes(gold, predicted)["accuracy"]
    alone = of_classes(gold[::10], predicted[::10])["accuracy"]
    assert together.value == alone.value == 0.8
    assert together.low == pytest.approx(alone.low, abs=0.01)
    assert together.high == pytest.approx(alone.high, abs=0.01)
    assert apart.high - apart.low < 0.35 * (together.high - together.low)


def test_rows_of_one_group_that_have_nothing_in_common_count_almost_as_many():
    groups = np.repeat(np.arange(40), 10)
    predicted = np.tile([0] * 8 + [1] * 2, 40)[np.random.default_rng(0).permutation(400)]
    together = of_classes(np.zeros(400, np.int64), predicted, groups=groups)["accuracy"]
    apart = of_classes(np.zeros(400, np.int64), predicted)["accuracy"]
    assert together.high - together.low == pytest.approx(apart.high - apart.low, rel=0.25)


def test_one_group_alone_says_next_to_nothing_of_a_share():
    found = of_classes(np.zeros(50, np.int64), np.arange(50) % 2, groups=np.zeros(50, np.int64))["accuracy"]
    assert found.low < 0.05
    assert found.high > 0.95


def test_groups_are_resampled_for_a_loss():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 20)
    tokens = np.full(600, 10)
    statistics = language_modelling.statistics(tokens * rng.uniform(1, 3, 30)[groups], tokens)
    together, apart = (
        intervals(statistics, language_modelling.formula, {}, METHOD, groups=g)["loss"]
        for g in (groups, None)
    )
    assert together.low < together.value < together.high
    assert together.high - together.low > 3.5 * (apart.high - apart.low)


def test_a_skewed_mean_agrees_with_bca_of_scipy():
    values = np.random.default_rng(3).lognormal(size=300)
    statistics = language_modelling.statistics(values, np.ones(300))
    found = intervals(statistics, language_modelling.formula, {}, Method(4000, 0.95, 0))["loss"]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, rng=0, method="BCa").confidence_interval
    assert found.low == pytest.approx(theirs.low, abs=0.03)
    assert found.high == pytest.approx(theirs.high, abs=0.05)


def test_it_is_a_function_of_the_seed_and_of_the_confidence():
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 30, 200)
    statistics = language_modelling.statistics(tokens * rng.uniform(1, 3, 200), tokens)

    def loss(**how):
        method = Method(**{"samples": 500, "confidence": 0.95, "seed": 0, **how})
        return intervals(statistics, language_modelling.formula, {}, method)["loss"]

    assert loss() == loss()
    assert loss(seed=1) != loss()
    wider = loss(confidence=0.99)
    assert wider.high - wider.low > loss().high - loss().low
    assert right(80, 100, method=Method(100, 0.99, 0)).low < right(80, 100).low


def test_a_million_rows_cost_little():
    gold = np.tile([0, 1], 500_000)
    found = of_classes(gold, np.zeros(1_000_000, dtype=np.int64))["accuracy"]
    assert found.value == 0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.0005, rel=0.01)


def test_many_different_rows_are_joined_and_vary_as_before():
    values = np.random.default_rng(0).normal(5, 1, 100_000)
    statistics = language_modelling.statistics(values, np.ones(100_000))
    found = intervals(statistics, language_modelling.formula, {}, Method(500, 0.95, 0))["loss"]
    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(100_000), rel=0.1)


def test_a_drop_is_paired():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 400)
    first = np.where(rng.random(400) < 0.8, gold, 1 - gold)
    second = np.where(np.arange(400) < 8, 1 - first, first)
    both = [classification.statistics(gold, predicted, 2).toarray() for predicted in (first, second)]
    found = paired_drop(
        np.concatenate(both, axis=1),
        (classification.formula, classification.formula),
        (classification.shares(2), classification.shares(2)),
        "accuracy",
        METHOD,
        width=6,
    )
    one, other = (
        intervals(s, classification.formula, classification.shares(2), METHOD)["accuracy"] for s in both
    )
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(one.value - other.value)
    assert found.high - found.low < 0.5 * (one.high - one.low)
