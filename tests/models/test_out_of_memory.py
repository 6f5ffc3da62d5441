"""A memory that is too small is reported as that, and the model is not called unfit."""

from __future__ import annotations

import pytest
import torch

from tunesmith.errors import ModelError
from tunesmith.models.fitness import try_out
from tunesmith.models.loading import load_for_training
from tunesmith.models.out_of_memory import is_out_of_memory
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import TASKS

TASK = TASKS.get("text-classification")


def too_much():
    """More than any machine has."""
    return torch.empty(1 << 58)


def test_a_trial_that_runs_out_of_memory(tiny_model):
    files = resolve_model(str(tiny_model))
    loaded = load_for_training(files, TASK, {"labels": ["a", "b"]}, pooling="auto", seed=0)
    loaded.model.base_model.register_forward_pre_hook(lambda *_: too_much())
    with pytest.raises(ModelError, match="the memory is too small") as caught:
        try_out(files, loaded.model, loaded.tokenizer, TASK, learns=True)
    assert "cannot be used" not in str(caught.value)
    assert "smaller model" in caught.value.remedy


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("You have to specify either input_ids or bbox"), False),
    ],
)
def test_which_errors_say_so(error, expected):
    assert is_out_of_memory(error) is expected
