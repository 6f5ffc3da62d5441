"""Options that have no effect are refused, not ignored."""

from __future__ import annotations

from tunesmith.errors import RecipeError
from tunesmith.recipe import GenerateRecipe, Recipe
from tunesmith.tasks import Task

_LORA_KEYS = tuple(
    f"train.{key}"
    for key in ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "use_dora", "use_rslora")
)
_GENERATE_KEYS = tuple(f"generate.{key}" for key in GenerateRecipe.model_fields)
_SAMPLING_KEYS = ("generate.temperature", "generate.top_p")
_LOOP_KEYS = ("train.layer_lr_decay", "train.gradient_checkpointing")
# Keys of `train` that only some tasks support.
_SPECIAL_KEYS = tuple(
    f"train.{key}"
    for key in (
        "class_weights", "focal_gamma", "label_smoothing_factor", "r_drop_alpha", "augment", "mlm_probability",
        "whole_word_masking", "dpo_beta",
    )
)  # fmt: skip


def refuse_options_without_effect(task: Task, recipe: Recipe) -> None:
    """Refuses a value that this task or method does not use.

    Raises:
        RecipeError: the key, and what it has no effect on.
    """
    train, data = recipe.train, recipe.data
    for key, what in _without_effect(task, recipe).items():
        if _is_set(recipe, key):
            raise RecipeError(f"{key} has no effect on {what}.", remedy=_remedy(task, key))
    if train.method == "probe" and not task.probe:
        raise RecipeError(
            f"train.method `probe` needs a linear head, and `{task.name}` has none.",
            remedy="Use `full` or `lora`.",
        )
    if data.too_long == "window" and not task.windows:
        raise RecipeError(
            f"data.too_long `window` is not for `{task.name}`: one answer stands for the whole text.",
            remedy="Use `cut` or `stop`.",
        )
    if data.too_long == "cut" and task.windows:
        raise RecipeError(
            f"data.too_long `cut` is not for `{task.name}`, which reads long texts in windows.",
            remedy="Use `window` or `stop`.",
        )
    if data.packing is True and not task.packing:
        raise RecipeError(f"data.packing is not for `{task.name}`.", remedy="Leave it at `auto`.")


def _without_effect(task: Task, recipe: Recipe) -> dict[str, str]:
    """The keys that have no effect, each with what it has none on."""
    this, method = f"`{task.name}`", recipe.train.method
    unsupported = tuple(
        key for key in _SPECIAL_KEYS if key.removeprefix("train.") not in task.supported_options
    )
    table = (
        (True, this, unsupported),
        (method != "lora", f"method `{method}`", _LORA_KEYS),
        (not task.pooling, this, ("train.pooling",)),
        (not task.windows, this, ("data.overlap_tokens",)),
        (not task.alignment, this, ("data.align_answers",)),
        (not task.chat, this, ("data.chat_template",)),
        (not task.generation, this, _GENERATE_KEYS),
        (not task.probe, f"{this}, which has no probe", ("train.head_start",)),
        (method == "probe", "a probe", (*_SPECIAL_KEYS, *_LOOP_KEYS)),
        (not recipe.generate.do_sample, "answers without `do_sample`", _SAMPLING_KEYS),
    )
    return {key: what for applies, what, keys in table if applies for key in keys}


def _is_set(recipe: Recipe, key: str) -> bool:
    """Whether a key has another value than its default."""
    section, _, name = key.partition(".")
    part = getattr(recipe, section)
    return bool(getattr(part, name) != type(part).model_fields[name].get_default())


def _remedy(task: Task, key: str) -> str:
    if key in _SPECIAL_KEYS and task.supported_options:
        return f"Leave it out. This task supports: {', '.join(task.supported_options)}."
    return "Leave it out."
