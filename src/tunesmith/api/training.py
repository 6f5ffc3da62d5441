"""`train`, from what people hold to a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.api.keywords import suggesting
from tunesmith.api.recipes import build_recipe, is_recipe, only_one
from tunesmith.api.run import Run
from tunesmith.api.using import open_door, showing
from tunesmith.errors import RecipeError
from tunesmith.events import Events, Listener
from tunesmith.hooks import Hooks
from tunesmith.process import lacks_tuning
from tunesmith.recipe import Recipe

if TYPE_CHECKING:
    from tunesmith.data.formats.memory import Held
    from tunesmith.types import JsonObject


@suggesting
def train(
    data: Any = None,
    *,
    labels: Any = None,
    label: str | None = None,
    text: str | None = None,
    task: str | None = None,
    model: Any = None,
    tokenizer: Any = None,
    validation: Any = None,
    test: Any = None,
    columns: Mapping[str, str | list[str]] | None = None,
    output_dir: str | os.PathLike[str] | None = None,
    method: str | None = None,
    epochs: float | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    max_length: int | None = None,
    seed: int | None = None,
    recipe: Recipe | str | os.PathLike[str] | Mapping[str, object] | None = None,
    overrides: Mapping[str, object] | Sequence[str] = (),
    force: bool = False,
    progress: bool = True,
    listeners: Iterable[Listener] = (),
    callbacks: Sequence[object] = (),
    should_stop: Callable[[], bool] | None = None,
    loss: Callable[..., Any] | None = None,
    optimizer: Callable[..., Any] | None = None,
    scheduler: Callable[..., Any] | None = None,
    model_init: Callable[..., Any] | None = None,
    collate: Callable[..., Any] | None = None,
    report_to: str | Sequence[str] | None = None,
) -> Run:
    """Trains, evaluates and reports; on the folder of a stopped run, resumes it.

    `train("reviews.csv")`, `train(frame, label="stars")` and `train(texts, labels=stars)` are all that is needed;
    `train("recipe.yaml")` runs a recipe. What is not given has the recipe's default.

    Args:
        data: a file, or several; a DataFrame, a `datasets.Dataset` or `DatasetDict`, a list of rows, a mapping of
            columns; a tuple of texts and labels, or texts with `labels`; or a recipe.
        labels: what is to be predicted for each of the texts that `data` is.
        label: the column of what is to be predicted, whatever the task calls it.
        text: the column of the text, whatever the task calls it.
        task: the task (recipe: `task`); guessed from the columns, where no recipe is given.
        model: a Hub id, a folder, a run, or a `PreTrainedModel` with its `tokenizer` (recipe: `model`).
        tokenizer: the tokenizer of a model in memory.
        validation: data like `data`, or the share that is held out (recipe: `data.validation`).
        test: data like `data`, or the share that is held out (recipe: `data.test`).
        columns: the data's column for each of the task's (recipe: `data.columns`).
        output_dir: the run folder (recipe: `output_dir`); a new one in `runs`, where no recipe is given.
        method: `full`, `lora` or `probe` (recipe: `train.method`).
        epochs: passes over the data (recipe: `train.num_train_epochs`).
        learning_rate: the highest learning rate (recipe: `train.learning_rate`).
        batch_size: rows of a step (recipe: `train.per_device_train_batch_size`).
        max_length: most tokens of a text (recipe: `data.max_length`).
        seed: seed of every random choice (recipe: `seed`).
        recipe: a recipe, a YAML file or a mapping, which the keywords override.
        overrides: values by dotted key, `{"train.warmup_steps": 100}`, which override all others.
        force: replace another run that is in `output_dir`.
        progress: whether to show what happens.
        listeners: called with every event (`tunesmith.events`).
        callbacks: objects with methods of transformers' `TrainerCallback` (docs/hooks.md, with all that follow).
        should_stop: asked after every step, from the thread that trains; when it gives True, everything is saved
            and the training ends with InterruptedRunError.
        loss: function of outputs and batch that returns the sum of the losses, or one for each item.
        optimizer: function from parameter groups to an optimizer of torch.
        scheduler: function from step and number of steps to a share of the learning rate; or from an optimizer to
            an `LRScheduler` of torch.
        model_init: function that changes or replaces the loaded model.
        collate: function that changes each training batch.
        report_to: trackers: `tensorboard`, `wandb`, `mlflow`, `trackio` (recipe: `train.report_to`).

    Returns:
        The run; `run.metrics` are its scores, `run.report` is its report.

    Raises:
        UserError: the recipe, the data or the model must be fixed first.
        InterruptedRunError: a signal or `should_stop` stopped the training; the same call resumes it.
    """
    from tunesmith import pipeline

    open_door()
    if is_recipe(data):
        data, recipe = None, only_one(data, recipe)
    held: list[Held] = []
    notices: list[str] = []
    built = build_recipe(
        recipe,
        overrides=overrides,
        notices=notices,
        held=held,
        replaces=force,
        labels=labels,
        label=label,
        text=text,
        data=data,
        task=task,
        model=_model(model, tokenizer),
        validation=validation,
        test=test,
        columns=columns,
        output_dir=output_dir,
        method=method,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        max_length=max_length,
        seed=seed,
        report_to=report_to,
    )
    hooks = Hooks(callbacks, loss, optimizer, scheduler, model_init, collate)
    stop: JsonObject = {} if should_stop is None else {"should_stop": should_stop}
    with showing(progress, listeners) as shown:
        for notice in [*notices, *filter(None, [lacks_tuning()])]:
            Events(shown).note(notice)
        run = pipeline.train(built, force=force, listeners=shown, hooks=hooks, **stop)
    return Run(run, held)


def _model(model: Any, tokenizer: Any) -> Any:
    """The name of a model; one in memory is saved first."""
    from tunesmith.data.cache import cache_folder
    from tunesmith.models.in_memory import is_model, save_in_memory_model

    if is_model(model):
        return str(save_in_memory_model(model, tokenizer, cache_folder() / "models"))
    if tokenizer is not None:
        raise RecipeError(
            "a tokenizer can be given only with a model in memory; a folder or a Hub id has its own.",
            remedy="Leave `tokenizer` out, or save it into the model's folder.",
        )
    return os.fspath(model) if isinstance(model, os.PathLike) else model
