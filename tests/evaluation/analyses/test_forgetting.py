import numpy as np
import pytest

from tunesmith.evaluation.analyses import ANALYSES
from tunesmith.testing.answered import answered, random_rows


def find(before, after):
    final = random_rows(10, np.random.default_rng(0), right=0.5)
    return ANALYSES.get("forgetting").find(answered(final, general_text=lambda: (before, after)))


def paragraphs(factor, seed=0):
    rng = np.random.default_rng(seed)
    n_bytes = rng.integers(200, 400, 40).astype(float)
    before = np.column_stack([n_bytes * rng.normal(0.9, 0.05, 40), n_bytes])
    after = before.copy()
    after[:, 0] *= factor * rng.normal(1.0, 0.002, 40)
    return before, after


def test_an_increase_is_that_of_the_sums_and_is_said():
    before, after = paragraphs(1.05)
    found = find(before, after)
    assert found["increase"]["value"] == pytest.approx(after[:, 0].sum() / before[:, 0].sum() - 1)
    bits = before[:, 1].sum() * np.log(2)
    assert found["base_model"]["value"] == pytest.approx(before[:, 0].sum() / bits)
    assert found["model"]["value"] == pytest.approx(after[:, 0].sum() / bits)
    assert found["increase"]["low"] > 0.045
    assert found["outcome"] == "worse"
    assert "has forgotten" in found["text"]


@pytest.mark.parametrize(("factor", "outcome"), [(1.01, "kept"), (1.0, "kept"), (0.97, "better")])
def test_a_small_increase_is_no_forgetting(factor, outcome):
    found = find(*paragraphs(factor))
    assert found["outcome"] == outcome
    assert "forgotten" not in found["text"]


def test_the_interval_is_that_of_paired_paragraphs():
    """Paragraphs differ much, and the ratio hardly: the interval of the increase is narrow."""
    found = find(*paragraphs(1.03))
    increase, bits = found["increase"], found["model"]
    assert increase["high"] - increase["low"] < (bits["high"] - bits["low"]) / bits["value"] / 3


def test_nothing_is_said_where_nothing_was_measured():
    final = random_rows(10, np.random.default_rng(0), right=0.5)
    assert ANALYSES.get("forgetting").find(answered(final)) is None
