"""What holds for the hooks of a program: they have an effect, and a run resumes with the same ones only."""

from __future__ import annotations

from tunesmith.effects import is_set
from tunesmith.errors import RecipeError, RunError
from tunesmith.hooks import Hooks, differences, in_words
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.tasks import Task
from tunesmith.training.callback_methods import methods_of
from tunesmith.training.contrastive import CONTRASTIVE

_IN_PLACE_OF = {
    "loss": ("class_weights", "focal_gamma", "label_smoothing_factor", "dpo_beta"),
    "scheduler": ("lr_scheduler_type", "warmup_steps"),
}
"""Keys of `train` that a hook takes the place of."""


def refuse_hooks_without_effect(task: Task, recipe: Recipe, hooks: Hooks) -> None:
    """Refuses a hook that this task or method cannot have, and a key that a hook makes void.

    Raises:
        RecipeError: the hook or the key, and why; or an object is no callback.
    """
    methods_of(hooks.callbacks)
    method = recipe.train.method
    for name in hooks.given:
        if method == "probe" and name != "model_init":
            raise RecipeError(
                f"`{name}` has no effect on method `probe`, which has no training loop.",
                remedy=f"Leave it out, or use `train.method=full`. Given: {', '.join(hooks.given)}.",
            )
        if method == CONTRASTIVE and name in ("loss", "collate"):
            raise RecipeError(
                f"`{name}` is not for method `{CONTRASTIVE}`, whose loss compares all rows of a batch.",
                remedy=f"Leave it out, or use `train.method=full`. Given: {', '.join(hooks.given)}.",
            )
        for key in _IN_PLACE_OF.get(name, ()):
            if is_set(recipe, f"train.{key}"):
                raise RecipeError(
                    f"train.{key} has no effect with an own `{name}`.", remedy="Leave one of them out."
                )
    if hooks.collate is not None and task.compares_rows:
        raise RecipeError(
            f"`collate` is not for `{task.name}`, whose loss compares all rows of a batch.",
            remedy="Leave it out; `loss` gets the outputs of all rows.",
        )
    if hooks.model_init is not None:
        _refuse_model_init(task, method)


def refuse_other_hooks(run: Run, hooks: Hooks) -> None:
    """Raises RunError when a run would resume with other hooks than those that it began with."""
    then = run.manifest().get("hooks", {})
    if not (found := differences(then, hooks.describe())):
        return
    began = f"was trained with {in_words(then)}" if then else "was trained without hooks"
    raise RunError(
        f"the run in `{run.path}` {began}, and now {'; '.join(found)}.",
        remedy=(
            "Give the same in Python (`tunesmith.train(…, loss=…)`); the command line cannot. Or choose another "
            "`output_dir`, or give `--force` to clear this run."
        ),
    )


def comment_of(hooks: Hooks) -> str:
    """What the recipe of a run does not say; empty without hooks."""
    if not hooks.given:
        return ""
    return f"Trained with {in_words(hooks.describe())}: recipe.yaml alone does not make it again."


def _refuse_model_init(task: Task, method: str) -> None:
    if method == "lora":
        raise RecipeError(
            "`model_init` is not for method `lora`: an adapter is saved without the model that it fits.",
            remedy="Use `train.method=full`, or save the changed model and name its folder as `model`.",
        )
    if task.reference:
        raise RecipeError(
            f"`model_init` is not for `{task.name}`, whose scores compare with the base model as it is.",
            remedy="Save the changed model, and name its folder as `model`.",
        )
