from types import SimpleNamespace

import pytest

from tunesmith.models.memory import longest_that_fits

CONFIG = SimpleNamespace(num_hidden_layers=6, hidden_size=384, num_attention_heads=12)


def test_the_activations_of_the_answer_take_half_the_memory():
    n = longest_that_fits(CONFIG, free_bytes=8 * 2**30)
    activations = 2 * 6 * n * (34 * 384 + 5 * 12 * n)
    assert activations == pytest.approx(4 * 2**30, rel=0.01)


def test_more_memory_fits_more():
    assert longest_that_fits(CONFIG, 2**30) < longest_that_fits(CONFIG, 2**32)
    assert longest_that_fits(CONFIG) > 512
