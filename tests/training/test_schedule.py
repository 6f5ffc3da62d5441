import pytest

from tunesmith.training.schedule import auto_learning_rate, learning_rate_factor


def factors(kind, warmup, total=100):
    return [learning_rate_factor(s, total, kind=kind, warmup_steps=warmup) for s in range(total)]


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0, 0.1, 10])
def test_it_rises_to_one_and_never_above(kind, warmup):
    values = factors(kind, warmup)
    assert max(values) == pytest.approx(1.0)
    assert min(values) > 0
    peak = values.index(max(values))
    assert values[: peak + 1] == sorted(values[: peak + 1])
    assert values[peak:] == sorted(values[peak:], reverse=True)


def test_a_share_is_steps():
    assert factors("linear", 0.1) == factors("linear", 10)


def test_linear_ends_near_zero_and_constant_at_one():
    assert factors("linear", 0)[-1] == pytest.approx(0.01)
    assert factors("cosine", 0)[-1] < 0.001
    assert factors("constant", 0.5)[-1] == 1.0


def test_the_peak_falls_with_size_and_grows_with_the_batch():
    assert auto_learning_rate(700_000, 32) == 1e-3
    assert auto_learning_rate(22_000_000, 32) == 1.5e-4
    assert auto_learning_rate(110_000_000, 32) == 5e-5
    assert auto_learning_rate(340_000_000, 32) == 2e-5
    assert auto_learning_rate(22_000_000, 128) == 3e-4


def test_a_task_may_learn_faster():
    assert auto_learning_rate(22_000_000, 32, 4.0) == 6e-4
    assert auto_learning_rate(22_000_000, 128, 0.5) == 1.5e-4
