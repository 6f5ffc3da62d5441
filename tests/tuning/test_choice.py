"""The choice among finalists, and the estimate of how much of the best score is luck."""

import numpy as np
import pytest

from tunesmith.encoded import Encoded
from tunesmith.evaluation.baselines import RowStatistics
from tunesmith.tasks import TASKS, EvalPredictions
from tunesmith.tuning.choice import Finalist, choose, optimism

TASK, SCHEMA = TASKS.get("text-classification"), {"labels": ["a", "b"]}


def answered(right):
    n = len(right)
    encoded = Encoded.of({"input_ids": [[1]] * n}, {"labels": np.zeros(n, np.int64)}, n_rows=n)
    logits = np.eye(2, dtype=np.float32)[1 - np.asarray(right, dtype=int)]
    return RowStatistics.of(TASK, EvalPredictions({"text": [""] * n}, encoded, logits), SCHEMA)


def finalist(name, accuracies, *, n=1000, seconds=60.0, is_default=False):
    """Rows of which the first ones are right, so that a better recipe is right wherever a worse one is."""
    rows = {seed: answered(np.arange(n) < round(a * n)) for seed, a in enumerate(accuracies)}
    return Finalist(name, {}, dict(enumerate(accuracies)), rows, seconds, is_default=is_default)


def test_a_clearly_better_recipe_is_chosen_though_it_costs_more():
    found = choose(
        [finalist("default", [0.80, 0.81], is_default=True), finalist("fine 1", [0.85, 0.86], seconds=200)],
        maximize=True,
        seed=0,
    )
    assert found.winner.name == "fine 1"
    difference, error = found.behind["default"]
    assert difference == pytest.approx(0.05)
    assert 0 < error < 0.01


def test_within_noise_the_cheaper_is_chosen():
    found = choose(
        [finalist("default", [0.80, 0.84], is_default=True), finalist("fine 1", [0.835, 0.81], seconds=200)],
        maximize=True,
        seed=0,
    )
    assert found.best.name == "fine 1"
    assert found.winner.name == "default"
    assert "within noise" in found.reason


def test_a_recipe_that_costs_the_same_is_not_preferred():
    both = [finalist("default", [0.80, 0.84], is_default=True), finalist("fine 1", [0.835, 0.81], seconds=55)]
    assert choose(both, maximize=True, seed=0).winner.name == "fine 1"


def test_of_equal_ones_the_default_is_chosen():
    both = [finalist("fine 1", [0.8]), finalist("default", [0.8], is_default=True)]
    assert choose(both, maximize=True, seed=0).winner.is_default


def test_a_loss_is_minimized():
    both = [finalist("default", [0.9], is_default=True), finalist("fine 1", [0.5])]
    assert choose(both, maximize=False, seed=0).best.name == "fine 1"


def test_the_standard_error_of_the_rows_is_that_of_paired_differences():
    """Against the textbook's formula, for the mean of differences of 0 and 1."""
    rng = np.random.default_rng(0)
    one, two = rng.random(500) < 0.8, rng.random(500) < 0.7
    finalists = [
        Finalist(name, {}, {0: float(right.mean())}, {0: answered(right)}, 60.0)
        for name, right in (("fine 1", one), ("fine 2", two))
    ]
    difference, error = choose(finalists, maximize=True, seed=0).behind["fine 2"]
    differences = one.astype(float) - two
    assert difference == pytest.approx(differences.mean())
    assert error == pytest.approx(differences.std(ddof=1) / np.sqrt(500), rel=1e-6)


def test_only_seeds_that_both_have_are_compared():
    best = finalist("fine 1", [0.9, 0.9, 0.9])
    other = Finalist("default", {}, {0: 0.88}, {0: best.rows[0]}, 60.0, is_default=True)
    assert choose([best, other], maximize=True, seed=0).behind["default"][0] == pytest.approx(0.02)


@pytest.mark.parametrize("n_trials", [2, 10, 30])
def test_optimism_is_what_the_best_of_equal_trials_has_too_much(n_trials):
    """Against simulations: trials that are right with probability 0.8, chosen on 200 rows."""
    rng = np.random.default_rng(n_trials)
    true, estimated = [], []
    for _ in range(60):
        right = rng.random((n_trials, 200)) < 0.8
        true.append(right.mean(1).max() - 0.8)
        estimated.append(optimism([answered(one) for one in right], seed=0))
    spread = np.std(estimated) / np.sqrt(len(estimated)) + np.std(true) / np.sqrt(len(true))
    assert np.mean(estimated) == pytest.approx(np.mean(true), abs=max(4 * spread, 0.35 * np.mean(true)))


def test_of_one_trial_there_is_no_optimism():
    assert optimism([answered(np.ones(20))], seed=0) is None
