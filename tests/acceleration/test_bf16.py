"""bfloat16 is chosen where it is faster, not where the processor claims it."""

import pytest

from tunesmith.acceleration import bf16


@pytest.mark.parametrize(
    ("has", "gain", "expected"), [(True, 4.5, True), (True, 0.55, False), (False, 4.5, False)]
)
def test_it_needs_the_instructions_and_the_gain(monkeypatch, has, gain, expected):
    monkeypatch.setattr(bf16, "has_bf16", lambda device: has)
    monkeypatch.setattr(bf16, "_gain", lambda: gain)
    assert bf16.bf16_is_faster("cpu") is expected


def test_the_gain_is_the_ratio_of_two_times():
    assert 0.01 < bf16._gain() < 100
    assert bf16._gain() == bf16._gain()  # measured once


def test_no_other_device_is_asked():
    assert bf16.bf16_is_faster("mps") is False
