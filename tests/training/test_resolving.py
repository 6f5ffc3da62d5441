import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from tunesmith.encoded import Encoded
from tunesmith.errors import RecipeError
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.recipe import Recipe
from tunesmith.tasks import TASKS, LossOptions, Schedule
from tunesmith.training.resolving import balanced_weights, choose_max_length, resolve_training

TASK = TASKS.get("text-classification")


@pytest.fixture
def loaded(tiny_model):
    return load_for_training(
        resolve_model(str(tiny_model)), TASK, {"labels": ["a", "b"]}, pooling="mean", seed=1
    )


def resolved(loaded, rows=4000, **train):
    recipe = Recipe.model_validate({"data": {"train": ["a"]}, "train": train})
    lengths = np.random.default_rng(0).integers(5, 40, rows)
    return resolve_training(recipe, lengths, loaded.model, TASK, max_length=64, bf16=False, world=1)


def test_every_auto_becomes_a_value_and_settles(loaded):
    used, plan, settings = resolved(loaded)
    assert (used.train.num_train_epochs, used.train.pooling) == (3, "mean")
    assert plan.first_epoch_steps == pytest.approx(4000 / 32, rel=0.2)
    assert settings.learning_rate == pytest.approx(1e-3, rel=0.2)
    assert settings.eval_steps == settings.save_steps == plan.first_epoch_steps
    again, _, same = resolve_training(
        used,
        np.random.default_rng(0).integers(5, 40, 4000),
        loaded.model,
        TASK,
        max_length=64,
        bf16=False,
        world=1,
    )
    assert again == used
    assert same == settings


def test_small_data_get_more_epochs_and_smaller_batches(loaded):
    used, plan, _ = resolved(loaded, rows=300)
    assert used.train.num_train_epochs == 6
    assert plan.first_epoch_steps > 15


def test_a_task_may_want_more_passes_and_another_rate(loaded):
    class Eager(type(TASK)):
        schedule = Schedule(rows_wanted=20_000, most_epochs=30, rate_factor=4.0)

    recipe = Recipe.model_validate({"data": {"train": ["a"]}})
    how = {"max_length": 64, "bf16": False, "world": 1}
    for rows, epochs, usual in ((300, 30, 6), (1000, 20, 6), (2000, 10, 5), (50_000, 3, 3)):
        lengths = np.random.default_rng(0).integers(5, 40, rows)
        eager, _, fast = resolve_training(recipe, lengths, loaded.model, Eager(), **how)
        plain, _, slow = resolve_training(recipe, lengths, loaded.model, TASK, **how)
        assert (eager.train.num_train_epochs, plain.train.num_train_epochs) == (epochs, usual)
        assert fast.learning_rate > 2 * slow.learning_rate


def test_rows_instead_of_tokens(loaded):
    used, plan, _ = resolved(loaded, per_device_train_batch_size=8, gradient_accumulation_steps=2)
    assert plan.first_epoch_steps == 250
    assert used.train.tokens_per_batch == "auto"


def test_max_length_is_that_of_the_model_and_what_is_asked(loaded):
    assert choose_max_length("auto", loaded.model, loaded.tokenizer, 20) == 64
    assert choose_max_length(32, loaded.model, loaded.tokenizer, 20) == 32
    with pytest.raises(RecipeError, match="must be at most 64, the limit of this model, got 65"):
        choose_max_length(65, loaded.model, loaded.tokenizer, 20)


def test_a_task_that_reads_windows_has_a_usual_length(loaded):
    """As long as the model allows, and whoever asks for another length gets it."""
    assert choose_max_length("auto", loaded.model, loaded.tokenizer, 5000, 48) == 48
    assert choose_max_length("auto", loaded.model, loaded.tokenizer, 10, 384) == 64
    assert choose_max_length(32, loaded.model, loaded.tokenizer, 5000, 48) == 32
    with pytest.raises(RecipeError, match="must be at most 64"):
        choose_max_length(65, loaded.model, loaded.tokenizer, 20, 48)


def test_settings_hold_what_the_recipe_says(loaded):
    asked = {"label_smoothing_factor": 0.1, "focal_gamma": 2.0, "r_drop_alpha": 0.5,
             "neftune_noise_alpha": 5.0, "layer_lr_decay": 0.9, "dpo_beta": 0.3,
             "mlm_probability": 0.3, "whole_word_masking": True}  # fmt: skip
    recipe = Recipe.model_validate({"data": {"train": ["a"]}, "train": asked})
    lengths = np.random.default_rng(0).integers(5, 40, 400)
    how = {"max_length": 64, "bf16": False, "world": 1}
    used, _, settings = resolve_training(recipe, lengths, loaded.model, TASK, class_weights=(0.5, 1.5), **how)
    assert settings.loss == LossOptions(0.1, 2.0, (0.5, 1.5), 0.3, 0.3, True)
    assert (settings.r_drop_alpha, settings.neftune_noise_alpha, settings.layer_lr_decay) == (0.5, 5.0, 0.9)
    assert {key: getattr(used.train, key) for key in asked} == asked


def weights_of(task, labels, k, asked="balanced"):
    recipe = Recipe.model_validate({"data": {"train": ["a"]}, "train": {"class_weights": asked}})
    encoded = Encoded.of({"input_ids": [[1]] * len(labels)}, {"labels": labels})
    return balanced_weights(recipe, encoded, TASKS.get(task).config({"labels": list("abcdef"[:k])}))


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.array([0] * 6 + [1] * 3 + [2])
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert weights_of("text-classification", labels, 3) == pytest.approx(theirs)
    assert weights_of("text-classification", labels, 3, "none") is None


def test_balanced_weights_have_a_mean_of_one_over_the_rows_also_where_a_label_is_absent():
    labels = np.array([0] * 6 + [2] * 2)
    weights = weights_of("text-classification", labels, 4)
    assert np.mean([weights[label] for label in labels]) == pytest.approx(1.0)
    assert all(np.isfinite(weights))


def test_balanced_weights_of_several_labels_a_row():
    """`multi-label-classification` says that it heeds `class_weights`."""
    labels = np.array([[1, 0], [1, 0], [1, 1], [1, 0]], dtype=np.float32)
    common, rare = weights_of("multi-label-classification", labels, 2)
    assert rare > common > 0
