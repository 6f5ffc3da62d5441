import pytest

from tunesmith.effects import METHODS_OF, OPTIONAL
from tunesmith.errors import RecipeError
from tunesmith.pipeline.options import refuse_options_without_effect
from tunesmith.recipe import METHODS, Recipe, TrainRecipe
from tunesmith.tasks import TASKS, Contrast, LinearProbe, Packing, Pooling, Task, Windows


class Bare(Task, abstract=True):
    """Supports nothing, has no probe, reads no windows, packs nothing."""

    name = "bare"


class Reading(Task, abstract=True):
    name, windows, probe, packing = "windows", Windows(), LinearProbe(), Packing()
    supported_options = ("mlm_probability",)


def refused(task, **sections):
    recipe = Recipe.model_validate({"data": {"train": ["a"], **sections.pop("data", {})}, **sections})
    with pytest.raises(RecipeError) as caught:
        refuse_options_without_effect(task, recipe)
    return str(caught.value)


SPECIAL = {
    "class_weights": "balanced", "focal_gamma": 2.0, "label_smoothing_factor": 0.1, "r_drop_alpha": 1.0,
    "augment": {"typos": 0.1}, "mlm_probability": 0.3, "whole_word_masking": True, "dpo_beta": 0.2,
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), SPECIAL.items())
def test_an_option_without_effect_is_refused(key, value):
    assert f"train.{key} has no effect on `bare`" in refused(Bare(), train={key: value})
    recipe = Recipe.model_validate({"data": {"train": ["a"]}, "train": {key: value}})

    class Supporting(Bare, abstract=True):
        supported_options = (key,)

    refuse_options_without_effect(Supporting(), recipe)


def test_answers_are_aligned_where_a_task_has_any():
    assert "data.align_answers has no effect on `bare`" in refused(Bare(), data={"align_answers": "nearby"})
    data = {"train": ["a"], "align_answers": "nearby"}
    refuse_options_without_effect(TASKS.get("question-answering"), Recipe.model_validate({"data": data}))


def test_what_the_task_supports_is_named():
    assert "This task supports: mlm_probability." in refused(Reading(), train={"focal_gamma": 1.0})


def test_a_probe_windows_and_packing_need_a_task_that_has_them():
    assert "needs a linear head, and `bare` has none" in refused(Bare(), train={"method": "probe"})
    assert "data.too_long `window` is not for `bare`" in refused(Bare(), data={"too_long": "window"})
    assert "data.too_long `cut` is not for `windows`" in refused(Reading(), data={"too_long": "cut"})
    assert "data.packing is not for `bare`" in refused(Bare(), data={"packing": True})


@pytest.mark.parametrize("name", TASKS.names())
def test_the_defaults_are_for_every_task(name):
    recipe = Recipe.model_validate({"data": {"train": ["a"]}})
    assert refuse_options_without_effect(TASKS.get(name), recipe) is None


@pytest.mark.parametrize("name", TASKS.names())
def test_a_task_supports_what_there_is(name):
    assert set(TASKS.get(name).supported_options) <= set(SPECIAL)


class Everything(Bare, abstract=True):
    """Supports whatever a task can."""

    windows, probe, packing, pooling = Windows(), LinearProbe(), Packing(), Pooling()
    contrast = Contrast(lambda columns: [])
    supported_options = OPTIONAL


VALUES = {
    "method": None, "folds": 3, "pooling": "first", "head_start": False, "freeze_layers": 1,
    "cache_frozen_layers": False, "max_skipped_batches": 2,
    "freeze_embeddings": True, "freeze": ["*.bias"], "layer_lr_decay": 0.9, "lora_r": 4, "lora_alpha": 8.0,
    "lora_dropout": 0.2, "lora_target_modules": ["query"], "use_dora": True, "use_rslora": True,
    "num_train_epochs": 2.0, "max_steps": 5, "learning_rate": 1e-4, "lr_scheduler_type": "cosine",
    "warmup_steps": 0.2, "weight_decay": 0.1, "dropout": 0.2, "max_grad_norm": 2.0, "tokens_per_batch": 100,
    "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "tokens_per_micro_batch": 50,
    "gradient_checkpointing": True, "bf16": False, "acceleration": False, "neftune_noise_alpha": 5.0,
    "average_last": 0.5, "eval_steps": 2, "save_steps": 2, "logging_steps": 2, "early_stopping_patience": 2,
    "report_to": ["tensorboard"], "add_tokens": "auto", **SPECIAL,
}  # fmt: skip
"""Another value than the default for every key of `train`."""


def test_the_table_names_every_key_of_train():
    assert set(METHODS_OF) == set(TrainRecipe.model_fields) == set(VALUES)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("key", [key for key in VALUES if key != "method"])
def test_every_key_is_used_by_a_method_or_refused(key, method):
    train = {key: VALUES[key], "method": method}
    if method in METHODS_OF[key]:
        recipe = Recipe.model_validate({"data": {"train": ["a"]}, "train": train})
        refuse_options_without_effect(Everything(), recipe)
    else:
        assert f"train.{key} has no effect on" in refused(Everything(), train=train)


def test_all_keys_without_effect_are_named_at_once():
    message = refused(Everything(), train={"method": "probe", "num_train_epochs": 3, "learning_rate": 1e-3})
    assert "2 values have no effect" in message
    assert "train.num_train_epochs has no effect on a probe" in message
    assert "train.learning_rate has no effect on a probe" in message
    assert "`train.num_train_epochs=auto train.learning_rate=auto` resets" in message
