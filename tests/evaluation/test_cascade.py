"""The promise of a cascade: kept on new rows, and for all its answers where the full model has one, too."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tunesmith.evaluation.abstaining import JudgedAnswers, keep_promise
from tunesmith.evaluation.cascade import FullModel, cascade_promise, share_right


def drawn(n, seed):
    """Answers of a first stage whose confidence is its probability to be right; the full model is better."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(4, 1, n)
    full = rng.uniform(size=n) < 0.5 + confidence / 2
    return JudgedAnswers(confidence, rng.uniform(size=n) < confidence), full


def test_without_a_promise_of_the_full_model_it_is_that_of_abstention():
    first, right = drawn(2_000, 0)
    full = FullModel(np.ones(2_000, dtype=bool), right, None)
    assert cascade_promise(first, full, 0.05) == keep_promise(first, 0.05)


def test_both_tests_hold_at_the_threshold():
    first, right = drawn(3_000, 1)
    full = FullModel(np.arange(3_000) % 5 > 0, right, 0.12)
    promise = cascade_promise(first, full, 0.08)
    by_first = first.confidence >= promise.threshold
    assert by_first.sum() == promise.given
    assert (by_first & ~first.is_right).sum() == promise.wrong
    given = by_first | full.is_given
    wrong = int((by_first & ~first.is_right).sum() + (~by_first & full.is_given & ~right).sum())
    assert binomtest(promise.wrong, promise.given, 0.08, "less").pvalue <= 0.03
    assert binomtest(wrong, int(given.sum()), 0.12, "less").pvalue <= 0.03
    right_answers = np.where(by_first, first.is_right, right)
    assert share_right(first, full, promise.threshold) == pytest.approx(right_answers.mean())


def test_a_promise_that_only_the_first_stage_keeps_is_refused():
    first, right = drawn(2_000, 2)
    full = FullModel(np.ones(2_000, dtype=bool), right, 0.05)
    assert keep_promise(first, 0.05).threshold is not None
    assert cascade_promise(first, full, 0.05).threshold is None


def test_the_promise_is_kept_on_new_rows():
    """Over 200 validation sets, it is broken less often than one time in twenty."""
    many, right = drawn(100_000, 99)
    broken = 0
    for seed in range(200):
        first, own = drawn(600, seed)
        promise = cascade_promise(first, FullModel(np.ones(600, dtype=bool), own, 0.15), 0.05)
        if promise.threshold is None:
            continue
        by_first = many.confidence >= promise.threshold
        error = (~many.is_right[by_first]).mean()
        all_wrong = np.where(by_first, ~many.is_right, ~right).mean()
        broken += error > 0.05 or all_wrong > 0.15
    assert broken <= 10
