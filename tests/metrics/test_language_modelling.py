import numpy as np
import pytest

from tunesmith.evaluation.intervals import Method, intervals
from tunesmith.metrics import language_modelling, total


def test_scores_of_a_model_that_halves_its_doubt():
    # Two texts, 10 tokens of 1 bit each, 4 bytes a token: perplexity 2, a quarter of a bit a byte.
    nll = np.array([6, 4]) * np.log(2)
    statistics = language_modelling.statistics(nll, [6, 4], [24, 16], [3, 4])
    scores = language_modelling.formula(total(statistics), with_bytes=True, with_accuracy=True)
    expected = {"loss": np.log(2), "perplexity": 2.0, "bits_per_byte": 0.25, "accuracy": 0.7}
    assert scores == pytest.approx(expected)


def test_the_loss_is_over_tokens_not_over_texts():
    sums = total(language_modelling.statistics(np.array([9.0, 1.0]), np.array([9, 11])))
    assert language_modelling.formula(sums)["loss"] == pytest.approx(0.5)


def test_only_what_is_known_is_scored():
    statistics = language_modelling.statistics(np.array([1.0]), np.array([1]))
    assert statistics.tolist() == [[1.0, 1.0, 0.0, 0.0]]
    assert set(language_modelling.formula(total(statistics))) == {"loss", "perplexity"}


def test_nothing_to_score():
    scores = language_modelling.formula(np.zeros((3, 4)), with_bytes=True, with_accuracy=True)
    assert scores["perplexity"].tolist() == [1.0] * 3
    assert not any(scores[name].any() for name in ("loss", "bits_per_byte", "accuracy"))


def test_perplexity_stays_finite():
    sums = np.array([1e6, 1.0, 0.0, 0.0])
    scores = language_modelling.formula(sums, with_bytes=True)
    assert scores["loss"] == 1e6
    assert np.isfinite(scores["perplexity"])
    assert scores["bits_per_byte"] == 0.0


def test_intervals():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 30, 200)
    statistics = language_modelling.statistics(tokens * rng.uniform(1, 3, 200), tokens)
    loss = intervals(statistics, language_modelling.formula, {}, Method(300, 0.95, 0))["loss"]
    assert loss.low < loss.value < loss.high
