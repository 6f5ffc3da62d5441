"""Fills in every `auto` of a recipe from the data, the model and the machine, for `recipe.yaml`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.batches import tokens_for_rows
from tunesmith.effects import is_set, not_for_method
from tunesmith.encoded import Encoded
from tunesmith.errors import RecipeError
from tunesmith.models import heads
from tunesmith.models.dropout import dropout_of
from tunesmith.models.memory import longest_that_fits
from tunesmith.models.positions import position_limit
from tunesmith.recipe import Recipe, TrainRecipe
from tunesmith.tasks import LossOptions, Task, Values
from tunesmith.training.contrastive import CONTRASTIVE
from tunesmith.training.plan import BatchSize, Plan
from tunesmith.training.schedule import METHOD_RATE_FACTORS, auto_learning_rate
from tunesmith.training.settings import Settings

if TYPE_CHECKING:
    from tunesmith.types import JsonObject, Model, Tokenizer

_ROWS_PER_BATCH = 32
_ROWS_PER_SMALL_BATCH = 16
_SMALL_DATA_ROWS = 1000
_MOST_TOKENS_PER_BATCH = 8192
_LEAST_EPOCHS = 3
_MOST_STEPS_BETWEEN_LOOKS = 1000
FEW_ROWS = 16
"""Rows a label, in the mean, below which `train.method: auto` is `contrastive`."""
USUAL_MAX_LENGTH = 512
"""Tokens that `data.max_length: auto` allows at least, where the model can read as many and does not say less."""


def choose_max_length(
    asked: int | str,
    model: Model,
    tokenizer: Tokenizer,
    longest_text: int,
    usual: int | None = None,
    least: int = 4,
    at_least: int = USUAL_MAX_LENGTH,
) -> int:
    """The most tokens of a text: as given, or the longest text within the limits of model and memory.

    `usual` is the value of `auto` for a task that reads long texts in windows.

    `auto` is at least the usual 512 (`at_least`) if the model can read as many: future texts may be longer than
    the training texts, and batches are padded to their longest text, so a high limit costs nothing. A sentence
    model says how much of a text it was made for; it reads more only if a training text is longer.

    Raises:
        RecipeError: the given number is larger than the model can read, or smaller than the task needs.
    """
    limit = position_limit(model, tokenizer)
    if asked == "auto" and usual is not None:
        return min(usual, limit)
    if asked == "auto":
        return min(max(at_least, longest_text), limit, longest_that_fits(model.config))
    if int(asked) < least:
        raise RecipeError(
            f"data.max_length must be at least {least} for this task, got {asked}.",
            remedy="Give a larger number, or leave it at `auto`.",
        )
    if int(asked) > limit:
        raise RecipeError(
            f"data.max_length must be at most {limit}, the limit of this model, got {asked}.",
            remedy="Give a smaller number, or leave it at `auto`.",
        )
    return int(asked)


def choose_method(recipe: Recipe, task: Task, train: Values, *, has_own_loss: bool) -> str:
    """What `train.method: auto` stands for: `contrastive` where rows are few for each label, else `full`.

    A value that only `full` uses is a choice of `full`.

    Args:
        recipe: recipe as given.
        task: task of the training.
        train: columns of the training rows.
        has_own_loss: whether a program replaces the loss or the batches.
    """
    if task.contrast is None or has_own_loss:
        return "full"
    only_full = set(not_for_method(CONTRASTIVE)) - set(not_for_method("full"))
    if any(is_set(recipe, key) for key in only_full):
        return "full"
    labels = task.contrast.labels(train)
    return CONTRASTIVE if len(labels) < FEW_ROWS * len(set(labels)) else "full"


def resolve_training(
    recipe: Recipe,
    lengths: NDArray[np.int64],
    model: Model,
    task: Task,
    *,
    max_length: int,
    bf16: bool,
    world: int,
    class_weights: tuple[float, ...] | None = None,
) -> tuple[Recipe, Plan, Settings]:
    """The recipe with every value filled in, and the plan and settings of the loop.

    Args:
        recipe: recipe as given; a method that `choose_method` has not chosen is `full`.
        lengths: [sequences], tokens of each training sequence.
        model: model to train.
        task: task of the training.
        max_length: chosen `data.max_length`.
        bf16: what `train.bf16: auto` stands for.
        world: number of training processes.
        class_weights: weights of the labels in the loss.
    """
    if recipe.train.method == "auto":
        recipe = recipe.replace(train={"method": "full"})
    train = recipe.train
    epochs = _epochs(len(lengths), task) if train.num_train_epochs == "auto" else train.num_train_epochs
    size, batch = _batch_size(recipe, task, lengths, world)
    plan = Plan(
        lengths,
        size,
        epochs=float(epochs),
        max_steps=train.max_steps,
        seed=recipe.seed,
        by_length=task.schedule.rows_per_batch is None,
    )
    eval_steps = _steps(train.eval_steps, _usual_eval_steps(train, plan))
    values: JsonObject = {
        "pooling": _pooling(model) if task.pooling and train.method != "lora" else train.pooling,
        "num_train_epochs": epochs,
        "learning_rate": _rate(train, model, task, len(lengths) / plan.first_epoch_steps),
        "dropout": _dropout(train, model),
        **batch,
        "bf16": bf16 if train.bf16 == "auto" else train.bf16,
        "eval_steps": eval_steps,
        "save_steps": _steps(train.save_steps, eval_steps),
    }
    data = {"max_length": max_length}
    settings = _settings(recipe.replace(data=data, train=values), class_weights)
    # A value that has no effect is not written, for a recipe that holds it would be refused.
    used = {key: value for key, value in values.items() if f"train.{key}" not in not_for_method(train.method)}
    return recipe.replace(data=data, train=used), plan, settings


def _dropout(train: TrainRecipe, model: Model) -> float | str:
    found = dropout_of(model.config) if train.dropout == "auto" else train.dropout
    return "auto" if found is None else found


def _usual_eval_steps(train: TrainRecipe, plan: Plan) -> int:
    if train.method == CONTRASTIVE:  # a head must be fitted first, each time
        return min(plan.total_steps, _MOST_STEPS_BETWEEN_LOOKS)
    return min(plan.first_epoch_steps, _MOST_STEPS_BETWEEN_LOOKS)


def _rate(train: TrainRecipe, model: Model, task: Task, rows_per_batch: float) -> float:
    if train.learning_rate != "auto":
        return float(train.learning_rate)
    factor = task.schedule.rate_factor * METHOD_RATE_FACTORS[train.method]
    return auto_learning_rate(model.num_parameters(), rows_per_batch, factor)


def balanced_weights(recipe: Recipe, train: Encoded, config: JsonObject) -> tuple[float, ...] | None:
    """Weights of the labels, 1 / frequency, with a mean of 1 over the training items; None unless requested."""
    if recipe.train.class_weights == "none":
        return None
    labels = np.asarray(train.dense["labels"] if "labels" in train.dense else train.ragged["labels"].values)
    if labels.ndim == 2:  # each label is a separate choice: present and absent have the same total weight
        given = np.maximum(labels.sum(0), 1)
        return tuple(float(weight) for weight in np.maximum(len(labels) - given, 1) / given)
    counts = np.bincount(labels[labels >= 0], minlength=config["num_labels"])
    weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return tuple(float(weight) for weight in weights)


def _pooling(model: Model) -> str:
    return "mean" if heads.has_pooling_layer(model) else "first"


def _settings(used: Recipe, class_weights: tuple[float, ...] | None) -> Settings:
    train = used.train
    return Settings(
        seed=used.seed,
        learning_rate=float(train.learning_rate),
        lr_scheduler_type=train.lr_scheduler_type,
        warmup_steps=train.warmup_steps,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        gradient_accumulation_steps=train.gradient_accumulation_steps,
        bf16=bool(train.bf16),
        eval_steps=int(train.eval_steps),
        save_steps=int(train.save_steps),
        logging_steps=train.logging_steps,
        early_stopping_patience=train.early_stopping_patience,
        average_last=train.average_last,
        layer_lr_decay=train.layer_lr_decay,
        r_drop_alpha=train.r_drop_alpha,
        neftune_noise_alpha=train.neftune_noise_alpha,
        tokens_per_micro_batch=None
        if train.tokens_per_micro_batch == "auto"
        else train.tokens_per_micro_batch,
        max_skipped_batches=train.max_skipped_batches,
        loss=LossOptions(
            label_smoothing=train.label_smoothing_factor,
            focal_gamma=train.focal_gamma,
            class_weights=class_weights,
            dpo_beta=train.dpo_beta,
            mlm_probability=train.mlm_probability,
            whole_word_masking=train.whole_word_masking,
        ),
    )


def _epochs(rows: int, task: Task) -> int:
    """Small data need more passes: so many that about as many rows are seen as the task wants."""
    return int(np.clip(round(task.schedule.rows_wanted / rows), _LEAST_EPOCHS, task.schedule.most_epochs))


def _batch_size(
    recipe: Recipe, task: Task, lengths: NDArray[np.int64], world: int
) -> tuple[BatchSize, JsonObject]:
    """The size of a batch, and the keys of `train` that say it."""
    train, passes = recipe.train, recipe.train.gradient_accumulation_steps * world
    if train.per_device_train_batch_size is not None:
        return BatchSize(rows=train.per_device_train_batch_size * passes), {"tokens_per_batch": "auto"}
    if train.tokens_per_batch != "auto":
        return BatchSize(tokens=train.tokens_per_batch), {"tokens_per_batch": train.tokens_per_batch}
    if task.schedule.rows_per_batch is not None:
        rows = max(1, task.schedule.rows_per_batch // passes)
        return BatchSize(rows=rows * passes), {"per_device_train_batch_size": rows}
    rows = _ROWS_PER_BATCH if len(lengths) >= _SMALL_DATA_ROWS else _ROWS_PER_SMALL_BATCH
    tokens = min(tokens_for_rows(lengths, rows), max(_MOST_TOKENS_PER_BATCH, int(lengths.max())))
    return BatchSize(tokens=tokens), {"tokens_per_batch": tokens}


def _steps(value: int | str, when_auto: int) -> int:
    return when_auto if value == "auto" else int(value)
