"""How often the intervals hold the true value: the same as `benchmarks/coverage.py`, on fewer cells."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import coverage


def test_of_proportions_exactly():
    found = np.concatenate([coverage.exact_coverage(n) for n in (20, 22, 31, 50, 100, 154, 300)])
    assert found.min() >= 0.92
    assert 0.94 <= found.mean() <= 0.965


CELLS = {f"{cell.metric}: {cell.name}": cell for cell in coverage.cells()}


@pytest.mark.parametrize(
    "name",
    [
        "f1_macro: 10 classes of 20, 90% right, alike",
        "f1_micro: 200 rows, 10 labels, 90% found",
        "f1: 200 sentences, 90% found",
        "f1: 400 sentences of 40 documents, 80% found",
        "accuracy: 40 groups of 10 rows, correlation 0.3, 80% right",
        "accuracy: 40 groups of 1 to 19 rows, correlation 0.6, 70% right",
        "f1: 40 contexts of 10 questions",
    ],
)
def test_of_other_shares(name):
    found = coverage.simulated_coverage(CELLS[name], sets=300)
    # 300 sets: 95 % plus or minus three of its standard errors.
    assert 0.912 <= found["coverage"] <= 0.988


def test_of_a_loss_in_groups():
    cell = CELLS["loss: 400 texts of 40 groups"]
    found = coverage.simulated_coverage(cell, sets=100)
    assert found["coverage"] >= 0.885


def test_the_page_has_a_line_for_each_cell():
    found = [coverage.simulated_coverage(CELLS["rouge1: 200 texts"], sets=5)]
    page = coverage.page(dict.fromkeys([20, 60, 100, 200, 500], coverage.exact_coverage(20)), found)
    assert "| 20 to 49 |" in page
    assert "| rouge1 | 200 texts |" in page
