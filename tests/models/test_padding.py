"""Padding changes no answer: models in which it matters are given texts of one length."""

from __future__ import annotations

import pytest
import torch

from tunesmith.models.loading import load_for_training
from tunesmith.models.padding import padding_matters
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import TASKS
from tunesmith.testing.families import write_family

TASK = TASKS.get("text-classification")
TARGETS = {"labels": ["animal", "colour"]}


@pytest.mark.parametrize(("family", "expected"), [("fnet", True), ("convbert", True), ("bert", False)])
def test_families_in_which_padding_matters_are_found_when_they_are_opened(family, expected, tmp_path):
    files = resolve_model(str(write_family(tmp_path, family)))
    loaded = load_for_training(files, TASK, TARGETS, pooling="first", seed=0)
    assert padding_matters(loaded.model) is expected
    assert bool(loaded.notes) is expected


def test_a_model_that_was_not_measured_is_taken_as_usual():
    assert not padding_matters(torch.nn.Linear(2, 2))
