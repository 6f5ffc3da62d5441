"""Options that have no effect are refused, not ignored."""

from __future__ import annotations

from collections.abc import Collection

from tunesmith.effects import OPTIONAL, default_of, in_words, is_set, without_effect
from tunesmith.errors import RecipeError
from tunesmith.recipe import Recipe, yaml_value
from tunesmith.tasks import Task
from tunesmith.training.contrastive import CONTRASTIVE


def refuse_options_without_effect(task: Task, recipe: Recipe) -> None:
    """Refuses a value that this task or method does not use.

    Raises:
        RecipeError: the key, and what it has no effect on; all keys, where there are several.
    """
    _refuse_method(task, recipe)
    found = {key: what for key, what in without_effect(task, recipe).items() if is_set(recipe, key)}
    if found:
        lines = [f"{key} has no effect on {what}." for key, what in found.items()]
        listed = "\n".join(f"  - {line}" for line in lines)
        rule = lines[0] if len(lines) == 1 else f"{len(lines)} values have no effect:\n{listed}"
        raise RecipeError(rule, remedy=_remedy(task, list(found)) + _of_decoders(task, found))
    _refuse_handling_of_long_texts(task, recipe)
    _refuse_calibration(task, recipe)


def _of_decoders(task: Task, found: Collection[str]) -> str:
    """What to do instead, if a key has an effect with decoders only; empty for other keys."""
    if task.decoders is None or not {"data.instruction", "data.chat_template"} & set(found):
        return ""
    decoder: Task = task.decoders.task()
    return (
        f" Decoders use it, such as `{decoder.suggested_model}`. What this model expects before a text "
        "(`summarize: `) belongs in the column of the texts."
    )


def _refuse_method(task: Task, recipe: Recipe) -> None:
    if recipe.train.method == "probe" and not task.probe:
        raise RecipeError(
            f"train.method `probe` needs a linear head, and `{task.name}` has none.",
            remedy="Use `full` or `lora`.",
        )
    if recipe.train.method == CONTRASTIVE and not task.contrast:
        raise RecipeError(
            f"train.method `{CONTRASTIVE}` compares rows by their one label, and rows of `{task.name}` have none.",
            remedy="Use `full`, `lora`, or `probe` for a task with a linear head.",
        )


def _refuse_handling_of_long_texts(task: Task, recipe: Recipe) -> None:
    data = recipe.data
    if data.too_long == "window" and not task.windows:
        raise RecipeError(
            f"data.too_long `window` is not for `{task.name}`: one answer stands for the whole text.",
            remedy="Use `cut` or `stop`.",
        )
    if data.too_long == "cut" and task.windows and not (task.chat and task.chat.learns_turns):
        raise RecipeError(
            f"data.too_long `cut` is not for `{task.name}`, which reads long texts in windows.",
            remedy="Use `window` or `stop`.",
        )
    if data.packing is True and not task.packing:
        raise RecipeError(f"data.packing is not for {in_words(task)}.", remedy="Leave it at `auto`.")


def _refuse_calibration(task: Task, recipe: Recipe) -> None:
    asked = recipe.evaluate.calibration
    if task.calibration is None or asked in ("auto", "none", *task.calibration.methods):
        return
    raise RecipeError(
        f"evaluate.calibration `{asked}` is not for `{task.name}`: its scores are not those of labels.",
        remedy="Use `auto` or `temperature`.",
    )


def _remedy(task: Task, keys: list[str]) -> str:
    reset = " ".join(f"{key}={yaml_value(default_of(key))}" for key in keys)
    leave = f"Leave {'it' if len(keys) == 1 else 'them'} out; `{reset}` resets what a recipe file sets."
    if any(key.removeprefix("train.") in OPTIONAL for key in keys) and task.supported_options:
        return f"{leave} This task supports: {', '.join(task.supported_options)}."
    return leave
