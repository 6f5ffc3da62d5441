"""`train`, from what people hold to a run."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Unpack

from tunesmith.api.keywords import spelled_out, suggesting
from tunesmith.api.recipes import build_recipe, is_recipe, only_one
from tunesmith.api.run import Run
from tunesmith.api.using import open_door, showing
from tunesmith.api.verb_keywords import TRAIN_DEFAULTS, TrainKeywords
from tunesmith.errors import RecipeError
from tunesmith.events import Events
from tunesmith.hooks import Hooks
from tunesmith.process import lacks_tuning

if TYPE_CHECKING:
    from tunesmith.data.formats.memory import Held
    from tunesmith.types import JsonObject


_HOOKS = tuple(field.name for field in fields(Hooks))
_OF_THE_RECIPE = (
    "labels", "label", "text", "task", "validation", "test", "columns", "output_dir", "method", "epochs",
    "learning_rate", "batch_size", "max_length", "seed", "report_to",
)  # fmt: skip


@suggesting
@spelled_out(TrainKeywords, TRAIN_DEFAULTS)
def train(data: Any = None, **keywords: Unpack[TrainKeywords]) -> Run:
    """Trains, evaluates and reports; on the folder of a stopped run, resumes it.

    `train("reviews.csv")`, `train(frame, label="stars")` and `train(texts, labels=stars)` are all that is needed;
    `train("recipe.yaml")` runs a recipe. What is not given has the recipe's default.

    Args:
        data: a file, or several; a DataFrame, a `datasets.Dataset` or `DatasetDict`, a list of rows, a mapping of
            columns; a tuple of texts and labels, or texts with `labels`; or a recipe.
        **keywords: the keywords.

    Returns:
        The run; `run.metrics` are its scores, `run.report` is its report.

    Raises:
        UserError: the recipe, the data or the model must be fixed first.
        InterruptedRunError: a signal or `should_stop` stopped the training; the same call resumes it.
    """
    from tunesmith import pipeline

    open_door()
    given: JsonObject = {**TRAIN_DEFAULTS, **keywords}
    recipe = given.get("recipe")
    if is_recipe(data):
        data, recipe = None, only_one(data, recipe)
    held: list[Held] = []
    notices: list[str] = []
    built = build_recipe(
        recipe,
        overrides=given["overrides"],
        notices=notices,
        held=held,
        replaces=given["force"],
        data=data,
        model=_model(given.get("model"), given.get("tokenizer")),
        **{name: given.get(name) for name in _OF_THE_RECIPE},
    )
    hooks = Hooks(**{name: given[name] for name in _HOOKS if name in given})
    stop = {name: given[name] for name in ("should_stop",) if given.get(name) is not None}
    with showing(given["progress"], given["listeners"]) as shown:
        for notice in [*notices, *filter(None, [lacks_tuning()])]:
            Events(shown).note(notice)
        run = pipeline.train(built, force=given["force"], listeners=shown, hooks=hooks, **stop)
    return Run(run, held)


def _model(model: Any, tokenizer: Any) -> Any:
    """The name of a model; one in memory is saved first."""
    from tunesmith.cache import cache_folder
    from tunesmith.models.in_memory import is_model, save_in_memory_model

    if is_model(model):
        return str(save_in_memory_model(model, tokenizer, cache_folder() / "models"))
    if tokenizer is not None:
        raise RecipeError(
            "a tokenizer can be given only with a model in memory; a folder or a Hub id has its own.",
            remedy="Leave `tokenizer` out, or save it into the model's folder.",
        )
    return os.fspath(model) if isinstance(model, os.PathLike) else model
