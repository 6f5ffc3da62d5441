import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.metrics import preference, total

margins = st.lists(st.integers(-20, 20).map(lambda i: i / 4), min_size=1, max_size=30).map(np.array)


def test_right_tied_and_wrong():
    scores = preference.formula(total(preference.statistics(np.array([2.0, 0.5, 0.0, -1.0]))))
    loss = np.mean(np.log1p(np.exp(-0.1 * np.array([2.0, 0.5, 0.0, -1.0]))))
    assert scores == pytest.approx({"reward_accuracy": 2.5 / 4, "reward_margin": 1.5 / 4, "loss": loss})


@settings(max_examples=50, deadline=None)
@given(margins)
def test_swapping_the_answers_turns_the_scores_over(values):
    scores = preference.formula(total(preference.statistics(values)))
    swapped = preference.formula(total(preference.statistics(-values)))
    assert scores["reward_accuracy"] == pytest.approx(1 - swapped["reward_accuracy"])
    assert scores["reward_margin"] == pytest.approx(-swapped["reward_margin"])
    assert scores["reward_margin"] == pytest.approx(values.mean())


def test_statistics_add_up_and_blocks_keep_their_shape():
    statistics = preference.statistics(np.array([1, -2, 0], dtype=np.float32))
    assert statistics.dtype == np.float64
    assert np.array_equal(total(statistics[:1]) + total(statistics[1:]), total(statistics))
    assert preference.formula(statistics)["reward_accuracy"].tolist() == [1.0, 0.0, 0.5]


def test_nothing_to_score_is_zero():
    assert all(not score.any() for score in preference.formula(np.zeros((2, 4))).values())
