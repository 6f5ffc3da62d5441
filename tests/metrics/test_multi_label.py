import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    precision_recall_fscore_support,
    precision_score,
    recall_score,
)

from tunesmith.metrics import multi_label, total

pairs = st.integers(1, 40).flatmap(lambda n: arrays(np.int64, (2, n, 4), elements=st.integers(0, 1)))


@settings(max_examples=100, deadline=None)
@given(pairs)
def test_scores_are_those_of_scikit_learn(pair):
    true, predicted = pair
    scores = multi_label.formula(total(multi_label.statistics(true, predicted)))
    expected = {
        "f1_micro": f1_score(true, predicted, average="micro", zero_division=0),
        "f1_macro": f1_score(true, predicted, average="macro", zero_division=0),
        "precision_micro": precision_score(true, predicted, average="micro", zero_division=0),
        "recall_micro": recall_score(true, predicted, average="micro", zero_division=0),
        "exact_match": accuracy_score(true, predicted),
    }
    assert scores == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_the_table_is_that_of_scikit_learn(pair):
    true, predicted = pair
    table = multi_label.per_label(total(multi_label.statistics(true, predicted)))
    expected = precision_recall_fscore_support(true, predicted, average=None, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        ours = [0.0 if value is None else value for value in table[name]]
        assert np.allclose(ours, values)
        if name in ("recall", "f1"):
            assert [value is None for value in table[name]] == [not n for n in expected[3]]


@settings(max_examples=30, deadline=None)
@given(pairs)
def test_statistics_add_up(pair):
    statistics = multi_label.statistics(*pair)
    cut = len(pair[0]) // 2
    assert np.array_equal(total(statistics[:cut]) + total(statistics[cut:]), total(statistics))


def test_nothing_to_score_is_zero_and_blocks_keep_their_shape():
    scores = multi_label.formula(np.zeros((2, 3, 3 * 4 + 2)))
    assert all(value.shape == (2, 3) and not value.any() for value in scores.values())


def random_rows(seed, n=300, k=6):
    """Rows of which the last two labels are rare; probabilities rounded, so that many are equal."""
    rng = np.random.default_rng(seed)
    true = (rng.random((n, k)) < [0.5, 0.3, 0.2, 0.1, 0.01, 0.01]).astype(np.int64)
    noise = rng.normal(0.35, 0.15, (n, k)) + 0.2 * true
    return np.clip(noise, 0, 1).round(2).astype(np.float32), true


def best_f1(probabilities, true, average):
    """By trying every probability that occurs."""
    candidates = np.unique(probabilities)
    return max(f1_score(true, probabilities >= c, average=average, zero_division=0) for c in candidates)


@pytest.mark.parametrize("seed", range(3))
def test_a_threshold_has_the_best_f1_of_its_label(seed):
    probabilities, true = random_rows(seed)
    thresholds = multi_label.fit_thresholds(probabilities, true)
    assert thresholds.dtype == np.float32
    for i in range(4):
        found = f1_score(true[:, i], probabilities[:, i] >= thresholds[i])
        assert found == pytest.approx(best_f1(probabilities[:, i], true[:, i], "binary"))


def test_a_threshold_lies_between_the_scores_that_it_parts():
    probabilities = np.repeat([0.2, 0.6], 10)[:, None]
    assert multi_label.fit_thresholds(probabilities, probabilities > 0.5) == pytest.approx([0.4])


@pytest.mark.parametrize("seed", range(3))
def test_rare_labels_share_the_threshold_with_the_best_micro_f1(seed):
    probabilities, true = random_rows(seed)
    assert (true[:, 4:].sum(axis=0) < multi_label.MIN_TRUE_ROWS).all()
    thresholds = multi_label.fit_thresholds(probabilities, true)
    assert thresholds[4] == thresholds[5]
    found = f1_score(true, probabilities >= thresholds[4], average="micro")
    assert found == pytest.approx(best_f1(probabilities, true, "micro"))


def test_nine_true_rows_are_few_and_ten_are_not():
    probabilities = np.full((40, 2), 0.1)
    true = np.zeros((40, 2))
    for label, n_true in enumerate((9, 10)):
        true[:n_true, label] = 1
        probabilities[:n_true, label] = (0.3, 0.8)[label]
    # Each label by itself is parted at (0.1 + 0.3) / 2 and (0.1 + 0.8) / 2, both together at 0.2.
    assert multi_label.fit_thresholds(probabilities, true) == pytest.approx([0.2, 0.45])
    true[9, 0], probabilities[9, 0] = 1, 0.25
    assert multi_label.fit_thresholds(probabilities, true) == pytest.approx([0.175, 0.45])


def test_among_equals_the_threshold_nearest_to_one_half_wins():
    true = np.ones((12, 1))  # every cut below the lowest score is as good as any other
    assert multi_label.fit_thresholds(np.full((12, 1), 0.9), true) == pytest.approx([0.45])
    assert multi_label.fit_thresholds(np.full((12, 1), 0.9), true, grid=[0.1, 0.4, 0.6, 0.8]) == (
        pytest.approx([0.4])
    )


def test_a_grid_is_kept_to():
    probabilities, true = random_rows(0)
    grid = [0.2, 0.4, 0.6]
    thresholds = multi_label.fit_thresholds(probabilities, true, grid=grid)
    assert set(thresholds.tolist()) <= set(np.float32(grid).tolist())
    for i in range(4):
        tried = [f1_score(true[:, i], probabilities[:, i] >= np.float32(level)) for level in grid]
        assert tried[grid.index(round(float(thresholds[i]), 1))] == max(tried)


def test_neighbouring_floats_are_parted():
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    for lower, upper in ((low, high), (high, np.nextafter(high, np.float32(1)))):
        probabilities = np.repeat([lower, upper], 10)[:, None]
        threshold = multi_label.fit_thresholds(probabilities, probabilities == upper)
        assert ((probabilities >= threshold) == (probabilities == upper)).all()


def test_the_order_of_rows_does_not_matter():
    probabilities, true = random_rows(1)
    order = np.random.default_rng(0).permutation(len(true))
    expected = multi_label.fit_thresholds(probabilities, true)
    assert np.array_equal(multi_label.fit_thresholds(probabilities[order], true[order]), expected)


def test_without_a_true_row_thresholds_are_one_half():
    assert multi_label.fit_thresholds(np.full((5, 3), 0.9), np.zeros((5, 3))).tolist() == [0.5] * 3
