"""Loads a base model and its tokenizer for a task; files that someone else made are read only here.

transformers reads the weights from safetensors, with remote code off. Only the weights of the head may be missing:
missing weights of the body would be trained from random numbers, and nobody would notice. A head for the same
labels in the same order is kept. A head that has some of the labels, and no others, grows (`grown_head`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunesmith.errors import ModelError, first_line
from tunesmith.models import heads
from tunesmith.models.adapters import adapter_modules, is_adapter, merge_adapter
from tunesmith.models.architecture import changed_model, refuse_unsavable
from tunesmith.models.dropout import set_dropout
from tunesmith.models.fitness import try_out
from tunesmith.models.freezing import freeze_pooler, freeze_unsaved
from tunesmith.models.grown_head import lacks_head, new_outputs, take_outputs
from tunesmith.models.out_of_memory import refuse_too_large
from tunesmith.models.padding import PADDING_NOTE, padding_matters
from tunesmith.models.pooling_layer import PoolingLayer, choose_pooling_layer, make_pooling_layer
from tunesmith.models.quiet import quiet
from tunesmith.models.resolve import ADAPTER_FILE, ModelFiles, config_file, resolve_model
from tunesmith.models.sentence_folder import describe_vectors
from tunesmith.models.tokenizer import load_tokenizer
from tunesmith.models.untrusted import refuse_impossible_sizes, refuse_more_parameters
from tunesmith.models.weights import (
    is_head,
    other_body_name,
    refuse_foreign_tokenizer,
    refuse_headless,
    refuse_holes,
    save_as_named,
)
from tunesmith.tasks import DECISION_KEY, LabelSchema, Task, Values, head_scale, prepare_tokenizer

if TYPE_CHECKING:
    import torch

    from tunesmith.types import Config, JsonObject, Model, Tokenizer


@dataclass(frozen=True)
class LoadedModel:
    """A model, its tokenizer, and facts about both.

    Args:
        model: stock model of transformers, in float32, on the CPU.
        tokenizer: fast tokenizer of the model.
        head_is_new: whether the files had no weights for the head.
        added_tokens: tokens that were added to the tokenizer for the task.
        needs_trained_head: whether the task needs an output layer that was pretrained, not a new head for labels.
        bf16: whether matrix products run in bfloat16.
        notes: notes for the user on how the model computes.
        new_weights: names of the weights that the files lack; these start from random numbers.
        new_outputs: outputs that the head has got, where it had those of all other labels.
    """

    model: Model
    tokenizer: Tokenizer
    head_is_new: bool
    added_tokens: tuple[str, ...] = ()
    needs_trained_head: bool = False
    bf16: bool = False
    notes: tuple[str, ...] = ()
    new_weights: tuple[str, ...] = ()
    new_outputs: tuple[int, ...] = ()


def refuse_other_kinds(files: ModelFiles, task: Task) -> None:
    """Raises if a model's config shows that it does not fit the task, before any data are read.

    Args:
        files: files from `resolve_model`.
        task: task that the model must learn.

    Raises:
        ModelError: transformers has no class for its architecture and this task.
    """
    import transformers

    config = _config(files, task, None, None)
    if type(config) not in getattr(transformers, task.auto_class)._model_mapping:
        raise ModelError(
            f"transformers has no class for {task.name} and models of the type `{config.model_type}`.",
            remedy=f"Choose another model, for example `{task.suggested_model}` (docs/models.md).",
            location=str(files.path),
        )


def load_for_training(
    files: ModelFiles,
    task: Task,
    label_schema: LabelSchema,
    *,
    pooling: str,
    seed: int,
    chat_template: str = "auto",
    train: Values | None = None,
    model_init: Callable[..., Any] | None = None,
    dropout: float | None = None,
) -> LoadedModel:
    """Loads a model with a head for the task's labels.

    Args:
        files: files from `resolve_model`.
        task: task, which has the class of transformers that loads the model.
        label_schema: label schema of the task.
        pooling: `auto`, `mean` or `first` as in the recipe, or `AS_IT_IS`.
        seed: random seed of the new head's weights.
        chat_template: name of a chat template, or `auto` for the model's own.
        train: training rows, in which tokens are found that the tokenizer lacks.
        model_init: function that changes or replaces the model, before a pooling layer is added.
        dropout: dropout probability of the layers; None for that of the model's config.

    Raises:
        ModelError: the model does not fit the task, lacks weights, or does not support the pooling.
        RecipeError: the model has no dropout, and one is asked for.
    """
    tokenizer, wanted = load_tokenizer(files), task.config(label_schema)
    added_outputs = new_outputs(files.config(), wanted, may_grow=model_init is None)
    layer = choose_pooling_layer(files, task, pooling, keep_head=added_outputs is not None)
    adds = layer == "new" and model_init is None
    config = _new_config(files, task, label_schema, tokenizer, adds_layer=adds)
    if dropout is not None:
        set_dropout(config, dropout, files.name)
    prepare = functools.partial(prepare_tokenizer, task, tokenizer, train or {}, chat_template=chat_template)
    model, missing, added = _open(files, task, config, wanted, tokenizer, prepare, seed)
    refuse_holes(files, model, missing, config.num_hidden_layers - 1 if adds else None)
    if model_init is None:
        make_pooling_layer(model, layer)
    # A head that was trained on the first token does not fit the mean.
    outputs = None if layer == "new" else added_outputs
    outputs = _begin_head(files, task, label_schema, model, missing, outputs, seed)
    if model_init is not None:
        model = _changed(model, model_init, wanted, layer, task, tokenizer, seed)
    _freeze_what_is_lost(model, task)
    try_out(files, model, tokenizer, task, learns=True)
    return LoadedModel(
        model, tokenizer, outputs is None, tuple(added), not heads.has_head(wanted), notes=_padding_notes(model),
        new_weights=tuple(sorted(missing)), new_outputs=outputs or (),
    )  # fmt: skip


def _new_config(
    files: ModelFiles, task: Task, label_schema: LabelSchema, tokenizer: Tokenizer, *, adds_layer: bool
) -> Config:
    """The config for a training, without what an earlier one fitted, and with room for a pooling layer."""
    config = _config(files, task, label_schema, tokenizer, extra_layers=int(adds_layer))
    heads.forget_calibration(config)
    if hasattr(config, DECISION_KEY):
        delattr(config, DECISION_KEY)
    if adds_layer:
        setattr(config, heads.POOLING_KEY, "mean")
    return config


def _freeze_what_is_lost(model: Model, task: Task) -> None:
    freeze_unsaved(model)
    if task.vectors is not None:
        freeze_pooler(model)


def _changed(
    model: Model,
    model_init: Callable[..., Any],
    wanted: JsonObject,
    layer: PoolingLayer,
    task: Task,
    tokenizer: Tokenizer,
    seed: int,
) -> Model:
    """The model that a program makes of this one, with the pooling layer that was chosen where it can have one."""
    model = changed_model(model, model_init, wanted, seed)
    refuse_unsavable(model, tokenizer, task)
    if layer == "new" and heads.can_pool_mean(model.config.model_type):
        heads.add_pooling_layer(model)
    elif layer == "kept":
        heads.freeze_pooling_layer(model)
    return model


def _open(
    files: ModelFiles,
    task: Task,
    config: Config,
    wanted: JsonObject,
    tokenizer: Tokenizer,
    prepare_tokenizer: Callable[[], Sequence[str]],
    seed: int,
) -> tuple[Model, set[str], Sequence[str]]:
    """The model with embeddings for all tokens, the names of weights that its files lack, and the added tokens."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, missing = _load(files, task, config)
        refuse_headless(files, task, missing, wanted)
        refuse_foreign_tokenizer(files, model, len(tokenizer))
        added = prepare_tokenizer()
        if added and len(tokenizer) > model.get_input_embeddings().num_embeddings:
            with quiet():
                model.resize_token_embeddings(len(tokenizer))
    return model, missing, added


def load_trained(files: ModelFiles, task: Task, *, device: torch.device | str | None = None) -> LoadedModel:
    """Loads a model that was fine-tuned for the task, ready to predict.

    Args:
        files: files from `resolve_model`.
        task: task that the model was trained for.
        device: device of the model; None for the GPU if there is one.

    Raises:
        ModelError: weights are missing, so the model was not trained for the task.
    """
    config = _config(files, task, None, None)
    model, missing = _load(files, task, config)
    if missing:
        raise ModelError(
            f"`{files.name}` is not trained for {task.name}: its weights lack `{sorted(missing)[0]}`.",
            remedy="Give the `model` folder of a run.",
        )
    tokenizer = load_tokenizer(files)
    try_out(files, model.eval(), tokenizer, task, learns=False)
    if device is None:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    return LoadedModel(model.to(device).eval(), tokenizer, head_is_new=False, notes=_padding_notes(model))


def _padding_notes(model: Model) -> tuple[str, ...]:
    return (PADDING_NOTE,) if padding_matters(model) else ()


def _config(
    files: ModelFiles,
    task: Task,
    label_schema: LabelSchema | None,
    tokenizer: Tokenizer | None,
    *,
    extra_layers: int = 0,
) -> Config:
    from transformers import CONFIG_MAPPING, AutoConfig

    changes: JsonObject = task.config(label_schema) if label_schema is not None else {}
    try:
        if is_adapter(files.path):
            config_class = CONFIG_MAPPING[files.config()["model_type"]]
            read = config_class.from_json_file(config_file(files.path))  # knows how infinity is written
            config = config_class.from_dict({**read.to_dict(), **changes})
        else:
            with quiet():  # a head for more labels is no mistake
                config = AutoConfig.from_pretrained(
                    files.path, trust_remote_code=False, local_files_only=True, **changes
                )
    except Exception as error:  # transformers and its dataclasses raise what an odd value makes them raise
        raise ModelError(
            f"`{files.name}` cannot be loaded: {first_line(error)}",
            remedy="Its architecture must be one of transformers.",
            location=str(files.path),
        ) from None
    for key, value in changes.items():
        if not hasattr(config, key):  # the class drops keys that it does not know
            setattr(config, key, value)
    if getattr(config, "attention_type", None) == "block_sparse":
        # BigBird changes to full attention at its first short text and keeps it, so the outputs for a long text
        # would depend on the texts before.
        config.attention_type = "original_full"
    if extra_layers:
        config.num_hidden_layers += extra_layers
    if getattr(config, heads.POOLING_KEY, None) and not task.pooling:
        # The pooling layer was only for the old head, so the body of a run is loaded without it.
        config.num_hidden_layers -= 1
        delattr(config, heads.POOLING_KEY)
    if task.vectors is not None:
        describe_vectors(config, files.path)
    if tokenizer is not None and getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = tokenizer.pad_token_id
    return config


def _load(files: ModelFiles, task: Task, config: Config) -> tuple[Model, set[str]]:
    """The model, and the names of the weights that its files lack; an adapter is merged into its base."""
    if not is_adapter(files.path):
        return _from_pretrained(files, task, config)
    base = resolve_model(adapter_base(files))
    if not is_adapter(base.path):
        refuse_impossible_sizes(config_file(files.path), sorted(base.path.glob("*.safetensors")))
    model, missing = _load(base, task, config)
    try:
        merged = merge_adapter(model, files.path)
    except (ValueError, RuntimeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"the adapter of `{files.name}` cannot be added to its base model: {first_line(error)}",
            remedy="Give a folder with a LoRA adapter of this base model.",
            location=str(files.path),
        ) from None
    if (files.path / "generation_config.json").is_file():
        from transformers import GenerationConfig

        merged.generation_config = GenerationConfig.from_pretrained(files.path, local_files_only=True)
    return merged, missing - adapter_modules(files.path)


def adapter_base(files: ModelFiles) -> str:
    """The name of the base model of an adapter."""
    content = json.loads((files.path / ADAPTER_FILE).read_text(encoding="utf-8"))
    if not content.get("base_model_name_or_path"):
        raise ModelError(
            f"`{files.name}` is an adapter and does not name its base model.",
            location=str(files.path / ADAPTER_FILE),
            remedy="Add `base_model_name_or_path`.",
        )
    return str(content["base_model_name_or_path"])


def _from_pretrained(files: ModelFiles, task: Task, config: Config) -> tuple[Model, set[str]]:
    import torch
    import transformers

    auto = getattr(transformers, task.auto_class)
    if files.kind not in ("run", "package"):
        refuse_more_parameters(auto, config, files.path)
    how: JsonObject = {
        "config": config,
        "dtype": torch.float32,
        "trust_remote_code": False,
        "use_safetensors": True,
        "local_files_only": True,
        "ignore_mismatched_sizes": True,
        "output_loading_info": True,
    }
    try:
        with quiet():
            model, info = auto.from_pretrained(files.path, **how)
            renamed = other_body_name(model, info)
            if renamed:
                model, info = auto.from_pretrained(files.path, key_mapping=renamed, **how)
                save_as_named(model, renamed)
    except Exception as error:  # any class of transformers, with any config
        refuse_too_large(error, files)
        raise ModelError(
            f"`{files.name}` cannot be loaded for {task.name}: {first_line(error)}",
            remedy=f"It must be a model for `{task.auto_class}` with whole safetensors files.",
            location=str(files.path),
        ) from None
    mismatched = {key[0] if isinstance(key, tuple) else key for key in info["mismatched_keys"]}
    missing = set(info["missing_keys"]) | mismatched
    if task.vectors is not None:  # which are not taken from the pooler
        missing = {name for name in missing if not is_head(model, name)}
    return model, missing


def _begin_head(
    files: ModelFiles,
    task: Task,
    label_schema: LabelSchema,
    model: Model,
    missing: set[str],
    outputs: tuple[int, ...] | None,
    seed: int,
) -> tuple[int, ...] | None:
    """Gives a head its first weights where the files lack them; its new outputs, or None if all of it is new."""
    wanted = task.config(label_schema)
    lacks = lacks_head(model, missing, wanted.get("num_labels", 0), grows=bool(outputs))
    if outputs is None or outputs or lacks:
        _renew_head(model, wanted, seed, *head_scale(task, label_schema))
    if outputs is None or lacks:
        return None
    if outputs:
        take_outputs(model, load_trained(files, task, device="cpu").model)
    return outputs


def _renew_head(model: Model, wanted: JsonObject, seed: int, centre: float, scale: float) -> None:
    """Gives a head for labels new random weights, since another task's head is no useful start."""
    import torch

    if not heads.has_head(wanted):
        return
    head = heads.find_head(model, wanted["num_labels"])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.normal_(0.0, 0.02 * scale, generator=generator)
        if head.bias is not None:
            head.bias.fill_(centre)
