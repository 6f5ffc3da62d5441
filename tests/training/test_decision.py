"""Offsets for rare labels, against scikit-learn, a search over a grid, and noise."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import f1_score
from sklearn.model_selection import TunedThresholdClassifierCV

from tunesmith.training.decision import LEAST_OF_LABEL, fit_labels, fit_prior, fit_ways, macro_f1, rarest


def drawn(n, shares, *, signal=1.5, seed=0):
    """Logits of a model that knows the shares, and labels; the more signal, the better it separates them."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(shares), n, p=shares)
    seen = signal * np.eye(len(shares))[labels] + rng.normal(size=(n, len(shares)))
    return signal * seen + np.log(shares), labels


def prior_of(shares):
    return -np.log(np.asarray(shares))


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose probabilities are its input."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return X


def test_macro_f1_is_that_of_scikit_learn():
    logits, labels = drawn(300, [0.6, 0.3, 0.08, 0.02])
    predicted = logits.argmax(-1)
    assert macro_f1(labels, predicted, 4) == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_two_labels_reach_the_best_threshold_of_scikit_learn():
    shares = [0.9, 0.1]
    logits, labels = drawn(100, shares, signal=1.2, seed=3)
    probabilities = softmax(logits, axis=-1)
    theirs = TunedThresholdClassifierCV(
        Given().fit(probabilities, labels), scoring="f1_macro", cv="prefit", refit=False,
        thresholds=np.unique(probabilities[:, 1]),
    ).fit(probabilities, labels)  # fmt: skip
    offsets = fit_labels(logits, labels, prior_of(shares))
    ours = macro_f1(labels, (logits + offsets).argmax(-1), 2)
    assert ours == pytest.approx(theirs.best_score_, abs=1e-9)
    assert ours > macro_f1(labels, logits.argmax(-1), 2) + 0.01


def test_three_labels_are_as_good_as_a_search_over_a_grid():
    shares = [0.8, 0.15, 0.05]
    logits, labels = drawn(400, shares)
    grid = np.linspace(-1, 4, 41)
    tried = (np.array([0, a, b]) for a in grid for b in grid)
    best = max(macro_f1(labels, (logits + offsets).argmax(-1), 3) for offsets in tried)
    found = fit_labels(logits, labels, prior_of(shares))
    assert macro_f1(labels, (logits + found).argmax(-1), 3) >= best - 0.01
    simple = fit_prior(logits, labels, prior_of(shares))
    assert macro_f1(labels, (logits + simple).argmax(-1), 3) <= macro_f1(
        labels, (logits + found).argmax(-1), 3
    )


def test_offsets_of_the_prior_are_one_factor_and_none_is_taken_at_a_tie():
    shares = np.array([0.7, 0.2, 0.1])
    logits, labels = drawn(500, shares)
    found, prior = fit_prior(logits, labels, prior_of(shares)), prior_of(shares)
    centred = prior - prior.mean()
    assert found / centred == pytest.approx(np.full(3, (found / centred)[0]), rel=1e-4)
    certain = 50 * np.eye(3)[labels]
    assert fit_prior(certain, labels, prior).tolist() == [0, 0, 0]
    assert fit_labels(certain, labels, prior).tolist() == [0, 0, 0]


def test_a_label_with_few_rows_keeps_the_offset_of_the_prior():
    shares = [0.6, 0.385, 0.015]
    logits, labels = drawn(400, shares, seed=1)
    assert 0 < (labels == 2).sum() < LEAST_OF_LABEL
    prior = prior_of(shares)
    apart = fit_labels(logits, labels, prior) - fit_prior(logits, labels, prior)
    # All are moved alike to keep their mean; the rare label is only moved so.
    assert apart[2] == pytest.approx(-(apart[0] + apart[1]), abs=1e-4)


def test_what_is_held_out_was_not_fitted_on():
    """Labels without any relation to the outputs: what was fitted gains, what was held out does not."""
    gained, honest = [], []
    for seed in range(8):
        logits, labels = drawn(200, [0.6, 0.25, 0.15], signal=0.0, seed=seed)
        logits = logits + np.random.default_rng(seed).normal(size=logits.shape)
        way = fit_ways(logits, labels, np.bincount(labels), groups=None, seed=seed)["labels"]
        gained.append(macro_f1(labels, (logits + way.offsets).argmax(-1), 3))
        honest.append(macro_f1(labels, (logits + way.held_out).argmax(-1), 3))
    assert np.mean(gained) > np.mean(honest) + 0.02


def test_rows_of_a_group_are_held_out_together():
    logits, labels = drawn(200, [0.7, 0.2, 0.1])
    groups = np.arange(200) // 4
    way = fit_ways(logits, labels, np.bincount(labels), groups=groups, seed=0)["prior"]
    for group in range(50):
        assert len(np.unique(way.held_out[groups == group], axis=0)) == 1
    assert fit_ways(logits, labels, np.bincount(labels), groups=np.zeros(200, dtype=int), seed=0) is None


def test_the_rarest_label_is_measured_by_an_even_share():
    assert rarest(np.array([60, 30, 10])) == (2, pytest.approx(0.3))
    assert rarest(np.array([50, 50])) == (0, 1.0)
