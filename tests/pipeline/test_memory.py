"""A memory that runs out in training is a problem with a remedy, not a traceback."""

import pytest
import torch

from tunesmith import pipeline
from tunesmith.errors import RecipeError
from tunesmith.testing.listeners import at_step, raising

pytestmark = pytest.mark.usefixtures("lean")


def test_a_memory_that_runs_out_in_training(tiny_recipe):
    recipe = tiny_recipe.replace(train={"tokens_per_micro_batch": 128})
    with pytest.raises(
        RecipeError, match="ran out of memory, with forward passes of up to 128 tokens"
    ) as caught:
        pipeline.train(recipe, listeners=[at_step(2, raising(torch.OutOfMemoryError))])
    assert "`train.tokens_per_micro_batch=64`" in caught.value.remedy
    assert "`train.gradient_checkpointing=true`" in caught.value.remedy


def test_another_error_is_left_as_it_is(tiny_recipe):
    with pytest.raises(ZeroDivisionError):
        pipeline.train(tiny_recipe, listeners=[at_step(2, raising(ZeroDivisionError))])
