import numpy as np
import pytest
from cleanlab.count import compute_confident_joint
from cleanlab.rank import get_label_quality_scores
from scipy.stats import binomtest

from tunesmith.checks._suspects import confidently_other, margins, suspects, wrong_share


def answers(n=600, k=4, noise=0.1, seed=0):
    """Labels, of which some are flipped, and what a good but unsure model makes of the rows."""
    rng = np.random.default_rng(seed)
    true = rng.integers(k, size=n)
    logits = rng.normal(size=(n, k)) + 3 * np.eye(k)[true]
    flipped = rng.random(n) < noise
    given = np.where(flipped, (true + rng.integers(1, k, size=n)) % k, true)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), given, flipped


def test_the_list_is_the_off_diagonal_of_the_confident_joint_of_cleanlab():
    logp, given, _ = answers()
    _, joint = compute_confident_joint(given, np.exp(logp), return_indices_of_off_diagonals=True)
    assert np.flatnonzero(confidently_other(np.exp(logp), given, most=1.0)).tolist() == sorted(joint)
    listed = suspects(logp, given).listed
    assert set(joint) <= {*listed, *np.flatnonzero(logp.argmax(axis=1) == given)}
    more_likely_than_not = (np.exp(logp).max(axis=1) >= 0.5) & (logp.argmax(axis=1) != given)
    assert set(np.flatnonzero(more_likely_than_not)) <= set(listed)


def test_with_power_one_the_margin_is_that_of_cleanlab(monkeypatch):
    monkeypatch.setattr("tunesmith.checks._suspects._POWER", 1.0)
    logp, given, _ = answers()
    margin, _ = margins(logp, given)
    theirs = get_label_quality_scores(given, np.exp(logp), method="normalized_margin")
    np.testing.assert_allclose((1 - margin) / 2, theirs, atol=1e-12)


def test_flipped_labels_come_first_and_the_other_label_is_proposed():
    logp, given, flipped = answers()
    found = suspects(logp, given)
    assert flipped[found.listed[:30]].mean() >= 0.9
    assert (found.proposed != given).all()
    assert (np.diff(found.margin[found.listed]) <= 0).all()


def test_a_label_without_a_row_is_never_proposed_by_the_list():
    logp, given, _ = answers()
    wider = np.concatenate([logp, np.full((len(logp), 1), -30.0)], axis=1)
    assert suspects(wider, given).listed.tolist() == suspects(logp, given).listed.tolist()


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.1, 0.2])
def test_the_share_of_wrong_labels_is_within_its_interval(noise):
    within = 0
    for seed in range(20):
        logp, given, flipped = answers(3000, noise=noise, seed=seed)
        share, low, high, n = wrong_share(logp, given)
        assert low <= share <= high
        assert n == 300
        within += low <= flipped.mean() <= high
    assert within >= 17


def test_the_interval_is_exact():
    logp, given, _ = answers(1000)
    share, low, high, n = wrong_share(logp, given)
    interval = binomtest(round(share * n), n).proportion_ci(0.95)
    assert (low, high) == (interval.low, interval.high)
