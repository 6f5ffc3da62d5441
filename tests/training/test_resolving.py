import numpy as np
import pytest

from tunesmith.errors import RecipeError
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.recipe import Recipe
from tunesmith.tasks import TASKS
from tunesmith.training.resolving import choose_max_length, resolve_training


@pytest.fixture
def loaded(tiny_model):
    task = TASKS.get("text-classification")
    return load_for_training(
        resolve_model(str(tiny_model)), task, {"labels": ["a", "b"]}, pooling="mean", seed=1
    )


def resolved(loaded, rows=4000, **train):
    recipe = Recipe.model_validate({"data": {"train": ["a"]}, "train": train})
    lengths = np.random.default_rng(0).integers(5, 40, rows)
    return resolve_training(recipe, lengths, loaded.model, max_length=64, device="cpu", world=1)


def test_every_auto_becomes_a_value_and_settles(loaded):
    used, plan, settings = resolved(loaded)
    assert (used.train.num_train_epochs, used.train.pooling) == (3, "mean")
    assert plan.first_epoch_steps == pytest.approx(4000 / 32, rel=0.2)
    assert settings.learning_rate == pytest.approx(1.5e-4, rel=0.2)
    assert settings.eval_steps == settings.save_steps == plan.first_epoch_steps
    again, _, same = resolve_training(
        used,
        np.random.default_rng(0).integers(5, 40, 4000),
        loaded.model,
        max_length=64,
        device="cpu",
        world=1,
    )
    assert again == used
    assert same == settings


def test_small_data_get_more_epochs_and_smaller_batches(loaded):
    used, plan, _ = resolved(loaded, rows=300)
    assert used.train.num_train_epochs == 6
    assert plan.first_epoch_steps > 15


def test_rows_instead_of_tokens(loaded):
    used, plan, _ = resolved(loaded, per_device_train_batch_size=8, gradient_accumulation_steps=2)
    assert plan.first_epoch_steps == 250
    assert used.train.tokens_per_batch == "auto"


def test_max_length_is_that_of_the_model_and_what_is_asked(loaded):
    assert choose_max_length("auto", loaded.model, loaded.tokenizer, 20) == 64
    assert choose_max_length(32, loaded.model, loaded.tokenizer, 20) == 32
    with pytest.raises(RecipeError, match="must be at most 64, what this model can read, got 65"):
        choose_max_length(65, loaded.model, loaded.tokenizer, 20)
