"""The keywords of `train`, `check` and `tune`: types for type checkers, and what `help()` says of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, TypedDict

from tunesmith.events import Listener
from tunesmith.recipe import Recipe


class DataKeywords(TypedDict, total=False):
    """What verbs take that read data of a recipe, besides the data themselves."""

    labels: Annotated[Any, "what is to be predicted for each of the texts that `data` is."]
    label: Annotated[str | None, "the column of what is to be predicted, whatever the task calls it."]
    text: Annotated[str | None, "the column of the text, whatever the task calls it."]
    task: Annotated[
        str | None, "the task (recipe: `task`); guessed from the columns, where no recipe is given."
    ]
    validation: Annotated[Any, "data like `data`, or the share that is held out (recipe: `data.validation`)."]
    test: Annotated[Any, "data like `data`, or the share that is held out (recipe: `data.test`)."]
    columns: Annotated[
        Mapping[str, str | list[str]] | None,
        "the data's column for each of the task's (recipe: `data.columns`).",
    ]
    max_length: Annotated[int | None, "most tokens of a text (recipe: `data.max_length`)."]
    seed: Annotated[int | None, "seed of every random choice (recipe: `seed`)."]
    recipe: Annotated[
        Recipe | str | os.PathLike[str] | Mapping[str, object] | None,
        "a recipe, a YAML file or a mapping, which the keywords override.",
    ]
    overrides: Annotated[
        Mapping[str, object] | Sequence[str],
        'values by dotted key, `{"train.warmup_steps": 100}`, which override all others.',
    ]
    progress: Annotated[bool, "whether to show what happens."]
    listeners: Annotated[Iterable[Listener], "called with every event (`tunesmith.events`)."]


class TrainKeywords(DataKeywords, total=False):
    """What `train` takes besides the data."""

    model: Annotated[
        Any,
        "a Hub id, a folder, a run, or a `PreTrainedModel` with its `tokenizer` (recipe: `model`).",
    ]
    tokenizer: Annotated[Any, "the tokenizer of a model in memory."]
    output_dir: Annotated[
        str | os.PathLike[str] | None,
        "the run folder (recipe: `output_dir`); a new one in `runs`, where no recipe is given.",
    ]
    method: Annotated[str | None, "`full`, `contrastive`, `lora` or `probe` (recipe: `train.method`)."]
    epochs: Annotated[float | None, "passes over the data (recipe: `train.num_train_epochs`)."]
    learning_rate: Annotated[float | None, "the highest learning rate (recipe: `train.learning_rate`)."]
    batch_size: Annotated[int | None, "rows of a step (recipe: `train.per_device_train_batch_size`)."]
    force: Annotated[bool, "replace another run that is in `output_dir`."]
    callbacks: Annotated[
        Sequence[object],
        "objects with methods of transformers' `TrainerCallback` (docs/hooks.md, with all that follow).",
    ]
    should_stop: Annotated[
        Callable[[], bool] | None,
        "asked after every step, from the thread that trains; when it gives True, everything is "
        "saved and the training ends with InterruptedRunError.",
    ]
    loss: Annotated[
        Callable[..., Any] | None,
        "function of outputs and batch that returns the sum of the losses, or one for each item.",
    ]
    optimizer: Annotated[
        Callable[..., Any] | None, "function from parameter groups to an optimizer of torch."
    ]
    scheduler: Annotated[
        Callable[..., Any] | None,
        "function from step and number of steps to a share of the learning rate; or from an "
        "optimizer to an `LRScheduler` of torch.",
    ]
    model_init: Annotated[Callable[..., Any] | None, "function that changes or replaces the loaded model."]
    collate: Annotated[Callable[..., Any] | None, "function that changes each training batch."]
    report_to: Annotated[
        str | Sequence[str] | None,
        "trackers: `tensorboard`, `wandb`, `mlflow`, `trackio` (recipe: `train.report_to`).",
    ]


class CheckKeywords(DataKeywords, total=False):
    """What `check` takes besides the data."""

    model: Annotated[
        str | os.PathLike[str] | None,
        "the model whose features are used: a Hub id or a folder (recipe: `model`).",
    ]
    fast: Annotated[bool, "leave out the checks that need the model."]


class TuneKeywords(DataKeywords, total=False):
    """What `tune` takes besides the data."""

    model: Annotated[
        str | os.PathLike[str] | None, "the base model: a Hub id, a folder or a run (recipe: `model`)."
    ]
    output_dir: Annotated[
        str | os.PathLike[str] | None,
        "the folder of the search; that of the recipe with `-tune` behind its name, where it is not given.",
    ]
    method: Annotated[str | None, "`full`, `contrastive`, `lora` or `probe` (recipe: `train.method`)."]
    space: Annotated[
        Mapping[str, object] | None,
        'ranges and values by key, `{"train.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}}` '
        "(recipe: `tune.space`).",
    ]
    trials: Annotated[int | None, "number of trainings of the search (recipe: `tune.trials`)."]
    time: Annotated[
        str | None, "time for the search and the final training: `20m`, `1h30m` (recipe: `tune.time`)."
    ]
    workers: Annotated[int, "number of processes, each with its share of the cores."]
    storage: Annotated[
        str | None, "`postgresql://user:password@host/database`, for a search on several machines."
    ]
    force: Annotated[bool, "replace another search that is in `output_dir`."]
    should_stop: Annotated[
        Callable[[], bool] | None,
        "asked after every step of every trial; when it gives True, everything is saved and the search ends "
        "with InterruptedRunError.",
    ]


_OF_DATA: Mapping[str, Any] = {"overrides": (), "progress": True, "listeners": ()}
TRAIN_DEFAULTS: Mapping[str, Any] = {**_OF_DATA, "force": False, "callbacks": ()}
"""Defaults of `train` that are not None."""
CHECK_DEFAULTS: Mapping[str, Any] = {**_OF_DATA, "fast": False}
"""Defaults of `check` that are not None."""
TUNE_DEFAULTS: Mapping[str, Any] = {**_OF_DATA, "force": False, "workers": 1}
"""Defaults of `tune` that are not None."""
