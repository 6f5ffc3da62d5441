import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from tunesmith.evaluation.abstaining import (
    JudgedAnswers,
    answers_needed,
    curve,
    error_bound,
    keep_promise,
)


def drawn(n, seed, *, scale=4.0):
    """Answers whose confidence is the probability that they are right."""
    rng = np.random.default_rng(seed)
    confidence = 1 / (1 + np.exp(-np.abs(rng.normal(scale, 2.2, n))))
    return JudgedAnswers(confidence, rng.random(n) < confidence)


def test_the_bound_is_that_of_clopper_and_pearson():
    for wrong, given in ((0, 20), (3, 150), (40, 41), (7, 7)):
        _, high = proportion_confint(wrong, given, alpha=0.1, method="beta")
        assert error_bound(wrong, given) == pytest.approx(high)


@pytest.mark.parametrize(("max_error", "scale"), [(0.02, 4.5), (0.05, 4.0), (0.1, 2.5)])
def test_the_promise_is_kept(max_error, scale):
    everything = drawn(400_000, 99, scale=scale)
    order = np.argsort(-everything.confidence)
    confidence = everything.confidence[order]
    errors = np.cumsum(1 - confidence) / np.arange(
        1, len(order) + 1
    )  # exact, as confidence is the probability
    broken, given = [], []
    for seed in range(400):
        promise = keep_promise(drawn(500, seed, scale=scale), max_error)
        n = 0 if promise.threshold is None else np.searchsorted(-confidence, -promise.threshold, side="right")
        broken.append(n > 0 and errors[n - 1] > max_error)
        given.append(n / len(order))
    assert np.mean(broken) <= 0.05
    assert np.mean(given) > 0.2  # a promise that is kept by silence is none


def test_wrong_answers_at_high_confidence_break_no_promise():
    """The most confident tenth is always wrong, so that fewer answers are not better ones."""
    broken = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        confidence = rng.random(600)
        right = rng.random(600) < np.where(confidence > 0.9, 0.0, 0.97)
        promise = keep_promise(JudgedAnswers(confidence, right), 0.1)
        broken += promise.threshold is not None
    assert broken <= 0.05 * 300


def test_what_was_tested_is_what_passes_the_exact_test():
    answers = drawn(1000, 3)
    promise = keep_promise(answers, 0.05)
    given = answers.given(promise.threshold)
    assert (len(given), (~given.is_right).sum()) == (promise.given, promise.wrong)
    assert binom.cdf(promise.wrong, promise.given, 0.05) <= 0.03
    assert error_bound(promise.wrong, promise.given) <= 0.05


def test_without_errors_everything_is_given():
    promise = keep_promise(JudgedAnswers(np.linspace(0.5, 1, 400), np.ones(400, dtype=bool)), 0.02)
    assert (promise.threshold, promise.given, promise.wrong) == (0.0, 400, 0)


@pytest.mark.parametrize("n", [0, 1, 67, 68])
def test_too_few_answers_keep_no_promise(n):
    """With 5 % allowed, 69 right answers are the fewest that show it: 0.95 ** 69 < 0.03 < 0.95 ** 68."""
    promise = keep_promise(JudgedAnswers(np.linspace(0.5, 1, n), np.ones(n, dtype=bool)), 0.05)
    assert promise.threshold is None
    assert promise.given == 0
    one_more = JudgedAnswers(np.linspace(0.5, 1, 69), np.ones(69, dtype=bool))
    assert keep_promise(one_more, 0.05).given == 69


def test_answers_of_equal_confidence_are_given_together():
    confidence = np.repeat([0.9, 0.6], [300, 100])
    right = np.concatenate([np.ones(300, dtype=bool), np.zeros(100, dtype=bool)])
    promise = keep_promise(JudgedAnswers(confidence, right), 0.05)
    assert promise.given == 300
    assert promise.threshold == pytest.approx(0.75)


def test_the_order_of_the_answers_does_not_matter():
    answers = drawn(700, 5)
    order = np.random.default_rng(0).permutation(700)
    shuffled = JudgedAnswers(answers.confidence[order], answers.is_right[order])
    assert keep_promise(shuffled, 0.05) == keep_promise(answers, 0.05)


def test_one_answer_of_each_group():
    groups = np.repeat(np.arange(50), 4)
    answers = JudgedAnswers(np.linspace(0, 1, 200), np.arange(200) % 3 > 0, groups)
    one = answers.one_a_group(7)
    assert len(one) == 50
    assert set(one.confidence) <= set(answers.confidence)
    assert np.array_equal(one.confidence, answers.one_a_group(7).confidence)
    assert not np.array_equal(one.confidence, answers.one_a_group(8).confidence)


def test_copies_of_rows_do_not_make_a_promise():
    """Rows that are right or wrong together count once: 50 right answers do not promise 5 %."""
    groups = np.repeat(np.arange(50), 10)
    many = JudgedAnswers(np.linspace(0.5, 1, 500), np.ones(500, dtype=bool), groups)
    assert keep_promise(JudgedAnswers(many.confidence, many.is_right), 0.05).given == 500
    assert keep_promise(many.one_a_group(0), 0.05).threshold is None


def test_how_many_answers_would_do():
    few = drawn(150, 2)
    assert keep_promise(few, 0.02).threshold is None
    needed = answers_needed(few, 0.02)
    assert 150 < needed < 5000
    hopeless = JudgedAnswers(np.random.default_rng(0).random(200), np.random.default_rng(1).random(200) < 0.5)
    assert answers_needed(hopeless, 0.02) is None


def test_the_curve_ends_with_every_answer():
    answers = drawn(300, 4)
    points = curve(answers)
    assert points[-1] == {"coverage": 1.0, "error": pytest.approx(float((~answers.is_right).mean()))}
    assert [point["coverage"] for point in points] == sorted(point["coverage"] for point in points)
    half = points[len(points) // 2]
    best = answers.is_right[np.argsort(-answers.confidence)[: round(half["coverage"] * 300)]]
    assert half["error"] == pytest.approx(1 - best.mean())
