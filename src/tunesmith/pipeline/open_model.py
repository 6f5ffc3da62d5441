"""Phase 2: the model and its tokenizer, with the head or the adapter that the data need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.acceleration import accelerated
from tunesmith.data.preparing import PreparedData
from tunesmith.errors import RecipeError
from tunesmith.models import heads
from tunesmith.models.adapters import LoraSettings, add_lora, whole_modules
from tunesmith.models.base_card import read_base_card
from tunesmith.models.identity import identify, refuse_changed_model
from tunesmith.models.languages import card_languages, language_problem
from tunesmith.models.loading import LoadedModel, load_for_training
from tunesmith.models.pooling_layer import AS_IT_IS
from tunesmith.models.resolve import ModelFiles
from tunesmith.pipeline.added_words import add_words_of_field
from tunesmith.pipeline.work import Work
from tunesmith.recipe import Recipe, TrainRecipe
from tunesmith.tasks import Task
from tunesmith.tasks._values import strings

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn

    from tunesmith.types import JsonObject, Model, Tokenizer

_SAMPLED_ROWS = 500
"""Rows whose words are compared with the model's language."""


@dataclass(frozen=True)
class OpenedModel:
    """A model that is ready to learn from the data.

    Args:
        data: rows by split.
        loaded: model and tokenizer.
        adapter: view of the model by peft, where only an adapter is trained.
        base: record of the model that the run begins from, for the manifest.
    """

    data: PreparedData
    loaded: LoadedModel
    adapter: PeftModel | None
    base: JsonObject

    @property
    def model(self) -> Model:
        """The model in training."""
        return self.loaded.model

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the model."""
        return self.loaded.tokenizer

    def head(self, task: Task) -> nn.Linear | None:
        """The task's linear head, if it has one."""
        config = task.config(self.data.label_schema)
        return heads.find_head(self.model, config["num_labels"]) if "num_labels" in config else None


def open_model(work: Work, files: ModelFiles, data: PreparedData) -> OpenedModel:
    """Loads the model; nothing is written.

    Raises:
        UserError: the recipe asks for what the model cannot do, or the model is unfit.
        RunError: the run resumes, and its base model has changed.
    """
    recipe, task, events = work.recipe, work.task, work.events
    events.stage("load", f"Loading {recipe.model}")
    base = {"name": recipe.model, **identify(files), "card": read_base_card(files)}
    before = work.run.manifest().get("model", {}) if work.resumes else {}
    refuse_changed_model(recipe.model, before, base)
    loaded = load_for_training(
        files,
        task,
        data.label_schema,
        pooling=_pooling(recipe.train),
        seed=recipe.seed,
        chat_template=recipe.data.chat_template,
        # An adapter cannot learn what would be added for characters of the rows.
        train={} if recipe.train.method == "lora" else data.splits["train"].columns,
        model_init=work.hooks.model_init,
        dropout=None if recipe.train.dropout == "auto" else recipe.train.dropout,
    )
    events.note(f"{files.origin}; {loaded.model.num_parameters():,} parameters")
    if files.config().get(heads.CALIBRATION_KEY) and not loaded.head_is_new:
        events.note(
            f"{files.name} has a calibrated head, from which the training begins; it is calibrated anew"
        )
    _report_added_tokens(work, loaded)
    base |= add_words_of_field(work, loaded, data.splits["train"], before)
    for column, problem in language_problems(work.task, files, data, loaded.tokenizer).items():
        work.events.warn(
            f"{files.name} was probably not made for the language of `{column}`: {problem}. A model that "
            "was, or a multilingual one, may be much better (docs/faq.md#other-languages)"
        )
    if loaded.head_is_new and loaded.needs_trained_head:
        events.warn(f"{files.name} was not trained for {task.name}: its head begins from random weights")
    loaded = accelerated(loaded, wanted=recipe.train.acceleration)
    for note in loaded.notes:
        events.note(note)
    adapter = _adapter(recipe, task, loaded, base=_name_for_others(recipe.model, files))
    return OpenedModel(data, loaded, adapter, base)


def _report_added_tokens(work: Work, loaded: LoadedModel) -> None:
    if not loaded.added_tokens:
        return
    named = " ".join(token if token.strip() else repr(token) for token in loaded.added_tokens)
    if work.recipe.train.method == "lora":
        raise RecipeError(
            f"{len(loaded.added_tokens)} tokens must be added to the model ({named}), and an adapter cannot learn "
            "their embeddings.",
            remedy="Use `train.method=full`, or a chat template whose tokens the model knows (`plain`).",
        )
    work.events.warn(
        f"{len(loaded.added_tokens)} tokens that the model does not know are added to it: {named}"
    )


def language_problems(
    task: Task, files: ModelFiles, data: PreparedData, tokenizer: Tokenizer
) -> dict[str, str]:
    """Why the model seems not to be made for the language of a column, by column.

    Args:
        task: task whose columns are read.
        files: files of the model, with its card.
        data: rows.
        tokenizer: tokenizer of the model.
    """
    languages, found = card_languages(files.path), {}
    for column in task.columns:
        if column.name not in data.splits["train"].columns or (column.target and column.kind != "text"):
            continue
        values = data.splits["train"].columns[column.name]
        sample = (values[row] for row in range(0, len(values), max(1, len(values) // _SAMPLED_ROWS)))
        found[column.name] = language_problem(
            tokenizer, (text for value in sample for text in strings(value)), languages
        )
    return {name: problem for name, problem in found.items() if problem}


def _pooling(train: TrainRecipe) -> str:
    if train.method != "lora":
        return train.pooling
    if train.pooling == "mean":
        raise RecipeError(
            "train.pooling `mean` adds a layer to the model, and an adapter must fit the base model as it is.",
            remedy="Leave it at `auto`, or use `train.method=full`.",
        )
    return AS_IT_IS


def _adapter(recipe: Recipe, task: Task, loaded: LoadedModel, *, base: str) -> PeftModel | None:
    if recipe.train.method != "lora":
        return None
    if loaded.head_is_new and loaded.needs_trained_head:
        raise RecipeError(
            f"`{recipe.model}` has no head for {task.name}, and an adapter cannot learn one.",
            remedy=f"Use `train.method=full`, or a model such as `{task.suggested_model}`.",
        )
    train = recipe.train
    settings = LoraSettings(
        train.lora_r,
        train.lora_alpha,
        train.lora_dropout,
        train.lora_target_modules,
        train.use_dora,
        train.use_rslora,
    )
    whole = whole_modules(loaded.model, loaded.new_weights, has_head=not loaded.needs_trained_head)
    adapter = add_lora(loaded.model, task.auto_class, settings, base=base, seed=recipe.seed, whole=whole)
    if heads.has_pooling_layer(loaded.model):
        heads.freeze_pooling_layer(loaded.model)
    return adapter


def _name_for_others(name: str, files: ModelFiles) -> str:
    """A model's name as an adapter's config shall give it: a Hub id stays, a folder or file becomes absolute."""
    if files.kind == "gguf":
        return str(Path(name).expanduser().resolve())
    return str(files.path.resolve()) if Path(name).expanduser().is_dir() else name
