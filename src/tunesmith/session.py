"""One training on its way through the stages: what they share, and how it begins."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.acceleration import accelerated
from tunesmith.acceleration.frozen_cache import FrozenCache
from tunesmith.acceleration.frozen_layers import body_tensors, fingerprint
from tunesmith.data.preparing import Prepared, prepare
from tunesmith.encoded import Encoded
from tunesmith.environment import DECISIVE_PACKAGES, describe_environment
from tunesmith.errors import RecipeError
from tunesmith.evaluation.result import final_split
from tunesmith.inference.answering import score
from tunesmith.inference.forward import Outputs, forward
from tunesmith.models import heads
from tunesmith.models.adapters import LoraSettings, add_lora, whole_modules
from tunesmith.models.identity import identify, refuse_changed_model
from tunesmith.models.loading import AS_IT_IS, LoadedModel, load_for_training, refuse_other_kinds
from tunesmith.models.resolve import resolve_model
from tunesmith.progress import Progress
from tunesmith.recipe import GenerateRecipe, Recipe, TrainRecipe
from tunesmith.run import Run
from tunesmith.tasks import EvalPredictions, LabelSchema, Task
from tunesmith.training.probe import Features, head_outputs


@dataclass
class Session:
    """What the stages share.

    Args:
        run: its folder.
        recipe: as asked for, then as used.
        task: that is learned.
        progress: told of what is done.
        data: rows by split.
        loaded: the model and its tokenizer.
        adapter: peft's view of the model, where only an adapter is trained.
        label_schema: what the task learned, thresholds included once they are fitted.
        base: which model the run began from.
        splits: sequences by split.
        max_length: tokens of a sequence.
        prefix: what the frozen layers make of the splits, where that is kept.
        features: what the head sees, by split, where nothing but the head learns.
        stages_s: seconds by stage.
    """

    run: Run
    recipe: Recipe
    task: Task
    progress: Progress
    data: Prepared
    loaded: LoadedModel
    adapter: Any = None
    label_schema: LabelSchema = field(default_factory=dict)
    base: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, Encoded] = field(default_factory=dict)
    max_length: int = 0
    prefix: FrozenCache | None = None
    features: dict[str, Features] = field(default_factory=dict)
    stages_s: dict[str, float] = field(default_factory=dict)

    @property
    def model(self) -> Any:
        """The model in training."""
        return self.loaded.model

    @property
    def tokenizer(self) -> Any:
        """Of the model."""
        return self.loaded.tokenizer

    @property
    def head(self) -> Any:
        """The task's linear head, if it has one."""
        config = self.task.config(self.label_schema)
        return heads.find_head(self.model, config["num_labels"]) if "num_labels" in config else None

    @property
    def final(self) -> str:
        """The split that counts."""
        return final_split(self.data.splits)

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """Tells and times a stage."""
        self.progress.stage(title)
        began = time.perf_counter()
        yield
        self.stages_s[name] = round(time.perf_counter() - began, 3)
        self.run.update_manifest(stages_s=self.stages_s)

    def advance(self, unit: str) -> Any:
        """A callback for work of known size."""
        return lambda done, total: self.progress.advance(done, total, unit)

    def see(
        self, split: str, model: Any = None, *, with_texts: bool = True, bf16: bool = False
    ) -> EvalPredictions:
        """A split as the model in training sees it, or another model."""
        model = self.model if model is None else model
        return score(
            self.task,
            model,
            self.tokenizer,
            self.data.splits[split].columns,
            self.splits[split],
            with_texts=with_texts,
            outputs=self._kept(split, model, bf16=bf16),
            advance=self.advance(f"{split} texts"),
        )

    @contextmanager
    def reading(self, split: str, model: Any = None) -> Iterator[Encoded]:
        """A split's sequences as the model is to be given them while this lasts: see `FrozenCache`."""
        if self.prefix is None:
            yield self.splits[split]
            return
        model = self.model if model is None else model
        advance = self.advance(f"{split} texts")
        with self.prefix.reading(split, self.splits[split], model, advance) as encoded:
            yield encoded

    def _kept(self, split: str, model: Any, *, bf16: bool) -> Outputs:
        """What the task keeps of the model's output; no part of it is computed that is known already."""
        if split in self.features and self._has_same_body(model):
            return head_outputs(heads.find_head(model, model.config.num_labels), self.features[split])
        with self.reading(split, model) as encoded:
            return forward(
                self.task,
                model,
                encoded,
                pad_token_id=self.tokenizer.pad_token_id,
                bf16=bf16,
                advance=self.advance(f"{split} texts"),
            )

    def _has_same_body(self, model: Any) -> bool:
        """Whether a model differs from the one in training by its head alone."""
        if model is self.model:
            return True
        one, other = (
            fingerprint(body_tensors(m, heads.find_head(m, m.config.num_labels))) for m in (self.model, model)
        )
        return one == other


def begin(
    run: Run, recipe: Recipe, task: Task, progress: Progress, before: Mapping[str, Any] | None = None
) -> Session:
    """Reads the data and loads the model; nothing is written before both are right.

    Args:
        run: its folder.
        recipe: as asked for.
        task: that is learned.
        progress: told of what is done.
        before: the manifest of a run that resumes.

    Raises:
        UserError: the recipe asks for what the task does not do, or the data or the model are unfit.
        RunError: the run resumes, and its base model is another than it was.
    """
    refuse_options_without_effect(task, recipe)
    began = time.perf_counter()
    files = resolve_model(recipe.model)
    refuse_other_kinds(files, task)
    progress.stage("Reading the data")
    data = prepare(task, recipe)
    _tell_data(data, progress)
    progress.stage(f"Loading {recipe.model}")
    base = {"name": recipe.model, **identify(files)}
    refuse_changed_model(recipe.model, (before or {}).get("model", {}), base)
    loaded = load_for_training(
        files,
        task,
        data.label_schema,
        pooling=_pooling(recipe.train),
        seed=recipe.seed,
        chat_template=recipe.data.chat_template,
        # An adapter cannot learn what would be added for characters of the rows.
        train={} if recipe.train.method == "lora" else data.splits["train"].columns,
    )
    progress.note(f"{files.origin}; {loaded.model.num_parameters():,} parameters")
    _tell_added_tokens(recipe, loaded, progress)
    if loaded.head_is_new and loaded.needs_trained_head:
        progress.warn(f"{files.name} was not trained for {task.name}: its head begins from random weights")
    loaded = accelerated(loaded, wanted=recipe.train.acceleration)
    for note in loaded.notes:
        progress.note(note)
    adapter = _adapter(recipe, task, loaded, base=_name_for_others(recipe.model, files.path))
    session = Session(run, recipe, task, progress, data, loaded, adapter, dict(data.label_schema), base=base)
    session.stages_s["prepare"] = round(time.perf_counter() - began, 3)
    return session


def refuse_options_without_effect(task: Task, recipe: Recipe) -> None:
    """A value that this task or method would not heed is an error, not ignored.

    Raises:
        RecipeError: naming it.
    """
    train, data = recipe.train, recipe.data
    for key, what in _useless(task, recipe).items():
        if _is_set(recipe, key):
            raise RecipeError(f"{key} has no effect on {what}.", remedy=_heeded(task, key))
    if train.method == "probe" and not task.has_probe:
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
    if data.packing is True and not task.packs:
        raise RecipeError(f"data.packing is not for `{task.name}`.", remedy="Leave it at `auto`.")


def _useless(task: Task, recipe: Recipe) -> dict[str, str]:
    """The keys that have no effect, each with what it has none on."""
    this, method = f"`{task.name}`", recipe.train.method
    unheeded = tuple(key for key in _SPECIAL_KEYS if key.removeprefix("train.") not in task.supported_options)
    table = (
        (True, this, unheeded),
        (method != "lora", f"method `{method}`", _LORA_KEYS),
        (not task.pools, this, ("train.pooling",)),
        (not task.windows, this, ("data.overlap_tokens",)),
        (not task.aligns, this, ("data.align_answers",)),
        (not task.chats, this, ("data.chat_template",)),
        (not task.generates, this, _GENERATE_KEYS),
        (not task.has_probe, f"{this}, which has no probe", ("train.head_start",)),
        (method == "probe", "a probe", (*_SPECIAL_KEYS, *_LOOP_KEYS)),
        (not recipe.generate.do_sample, "answers without `do_sample`", _SAMPLING_KEYS),
    )
    return {key: what for applies, what, keys in table if applies for key in keys}


def _is_set(recipe: Recipe, key: str) -> bool:
    """Whether a key has another value than its default."""
    section, _, name = key.partition(".")
    part = getattr(recipe, section)
    return bool(getattr(part, name) != type(part).model_fields[name].get_default())


def _heeded(task: Task, key: str) -> str:
    if key in _SPECIAL_KEYS and task.supported_options:
        return f"Leave it out. This task heeds: {', '.join(task.supported_options)}."
    return "Leave it out."


_LORA_KEYS = tuple(
    f"train.{key}"
    for key in ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "use_dora", "use_rslora")
)
_GENERATE_KEYS = tuple(f"generate.{key}" for key in GenerateRecipe.model_fields)
_SAMPLING_KEYS = ("generate.temperature", "generate.top_p")
_LOOP_KEYS = ("train.layer_lr_decay", "train.gradient_checkpointing")
# Keys of `train` that only some tasks heed.
_SPECIAL_KEYS = tuple(
    f"train.{key}"
    for key in (
        "class_weights", "focal_gamma", "label_smoothing_factor", "r_drop_alpha", "augment", "mlm_probability",
        "whole_word_masking", "dpo_beta",
    )
)  # fmt: skip


def describe(
    session: Session, requested: Recipe, data_fingerprint: str, before: Mapping[str, Any]
) -> dict[str, Any]:
    """The manifest's entries that say what the run is made from.

    Args:
        session: with its data and model.
        requested: the recipe as asked for.
        data_fingerprint: SHA-256 over the data.
        before: the manifest of a run that goes on; empty for a new one.
    """
    data = session.data
    return {
        "data": {
            "fingerprint": data_fingerprint,
            "columns": data.chosen,
            "read_as": data.views,
            "rows": {name: len(examples) for name, examples in data.splits.items()},
            "set_aside": len(data.invalid_rows),
            "notices": data.notices,
        },
        "label_schema": data.label_schema,
        "model": {**session.base, "parameters": session.model.num_parameters()},
        "seed": requested.seed,
        **_environment(before, session.progress),
    }


def _environment(before: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Where the run began stays on record; where it goes on is noted beside it."""
    now = describe_environment()
    if "started" not in before:
        return now
    changed = [
        (name, then, here)
        for name, then, here in (
            *((name, before["versions"].get(name), now["versions"][name]) for name in DECISIVE_PACKAGES),
            ("the number of threads", before["machine"].get("threads"), now["machine"]["threads"]),
        )
        if then != here
    ]
    if changed:
        named = " and ".join(name for name, _, _ in changed)
        listed = ", ".join(f"{then} → {here}" for _, then, here in changed)
        progress.warn(f"{named} changed since the run began ({listed}): the weights may differ")
    return {"continued": [*before.get("continued", []), now]}


def _tell_data(data: Prepared, progress: Progress) -> None:
    progress.note("columns: " + ", ".join(f"{ours} = `{theirs}`" for ours, theirs in data.chosen.items()))
    progress.note("rows: " + ", ".join(f"{len(rows):,} {name}" for name, rows in data.splits.items()))
    for notice in data.notices:
        progress.warn(notice)


def _tell_added_tokens(recipe: Recipe, loaded: LoadedModel, progress: Progress) -> None:
    if not loaded.added_tokens:
        return
    named = " ".join(token if token.strip() else repr(token) for token in loaded.added_tokens)
    if recipe.train.method == "lora":
        raise RecipeError(
            f"{len(loaded.added_tokens)} tokens must be added to the model ({named}), and an adapter cannot learn "
            "their embeddings.",
            remedy="Use `train.method=full`, or a chat template whose tokens the model knows (`plain`).",
        )
    progress.warn(f"{len(loaded.added_tokens)} tokens that the model does not know are added to it: {named}")


def _pooling(train: TrainRecipe) -> str:
    if train.method != "lora":
        return train.pooling
    if train.pooling == "mean":
        raise RecipeError(
            "train.pooling `mean` adds a layer to the model, and an adapter must fit the base model as it is.",
            remedy="Leave it at `auto`, or use `train.method=full`.",
        )
    return AS_IT_IS


def _adapter(recipe: Recipe, task: Task, loaded: LoadedModel, *, base: str) -> Any:
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


def _name_for_others(name: str, path: Path) -> str:
    """A model's name as an adapter's config shall give it: a Hub id stays, a folder becomes absolute."""
    return str(path.resolve()) if Path(name).expanduser().is_dir() else name
