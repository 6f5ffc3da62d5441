import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.training.plan import BatchSize, Plan

LENGTHS = np.random.default_rng(0).integers(4, 30, 103)


def plan(epochs=3.0, max_steps=None, size=None, seed=1):
    return Plan(LENGTHS, size or BatchSize(rows=10), epochs=epochs, max_steps=max_steps, seed=seed)


def test_each_epoch_has_every_row_once():
    p = plan(2)
    assert p.total_steps == 22
    for epoch in range(2):
        rows = np.concatenate([p.batch(epoch * 11 + i) for i in range(11)])
        assert sorted(rows.tolist()) == list(range(103))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 32), min_size=1, max_size=10))
def test_a_batch_is_a_function_of_its_step_whatever_was_asked_before(steps):
    fresh = [plan().batch(step).tolist() for step in steps]
    one = plan()
    assert [one.batch(step).tolist() for step in steps] == fresh


@pytest.mark.parametrize(("epochs", "steps"), [(0.5, 6), (1, 11), (1.5, 17), (3, 33), (0.001, 1)])
def test_fractions_of_epochs(epochs, steps):
    assert plan(epochs).total_steps == steps


def test_max_steps_overrides_epochs():
    p = plan(3, max_steps=40)
    assert p.total_steps == 40
    assert len(p.batch(39)) > 0


def test_epochs_done():
    p = plan(3)
    assert p.epochs_done(0) == 0
    assert p.epochs_done(11) == 1
    assert p.epochs_done(33) == 3
    assert p.epochs_done(5) == pytest.approx(5 / 11)


def test_seeds_and_epochs_differ():
    assert plan(seed=1).batch(0).tolist() != plan(seed=2).batch(0).tolist()
    p = plan()
    assert [b.tolist() for b in (p.batch(i) for i in range(11))] != [
        b.tolist() for b in (p.batch(i) for i in range(11, 22))
    ]


def test_token_budgets_make_batches_of_tokens():
    p = plan(2, size=BatchSize(tokens=120))
    for step in range(p.total_steps):
        rows = p.batch(step)
        assert len(rows) == 1 or LENGTHS[rows].max() * len(rows) <= 120
