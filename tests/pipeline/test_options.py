import pytest

from tunesmith.errors import RecipeError
from tunesmith.pipeline.options import refuse_options_without_effect
from tunesmith.recipe import Recipe
from tunesmith.tasks import TASKS, LinearProbe, Packing, Task, Windows


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
