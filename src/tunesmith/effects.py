"""Which keys of a recipe have an effect: for which methods, for which tasks, and beside which other values.

The tables are complete for `train`: a key that they do not name fails a test. A key without effect is refused
(`pipeline.options`), and `init` does not write it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tunesmith.recipe import METHODS, GenerateRecipe, Recipe
from tunesmith.tasks import Task

_ALL = METHODS
_HEAD = ("full", "lora")
_LOOP = ("contrastive", *_HEAD)
_ADAPTER = ("lora",)

METHODS_OF: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("method", "folds", "pooling", "bf16", "acceleration", "report_to"), _ALL),
    # Only here is the head trained in the loop, with a loss over labels.
    **dict.fromkeys((
        "head_start", "class_weights", "focal_gamma", "label_smoothing_factor", "r_drop_alpha", "mlm_probability",
        "whole_word_masking", "dpo_beta",
    ), _HEAD),
    # A probe fits the head alone, from features that are computed once: no layer is trained, and there is no loop.
    **dict.fromkeys((
        "freeze_layers", "cache_frozen_layers", "freeze_embeddings", "freeze", "layer_lr_decay",
        "num_train_epochs", "max_steps", "learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay",
        "dropout", "max_grad_norm", "tokens_per_batch", "per_device_train_batch_size",
        "gradient_accumulation_steps", "tokens_per_micro_batch", "gradient_checkpointing", "neftune_noise_alpha",
        "augment", "average_last", "eval_steps", "save_steps", "logging_steps", "add_tokens",
        "early_stopping_patience", "max_skipped_batches",
    ), _LOOP),
    **dict.fromkeys((
        "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "use_dora", "use_rslora",
    ), _ADAPTER),
}  # fmt: skip
"""The methods for which each key of `train` has an effect."""

OPTIONAL = (
    "class_weights", "focal_gamma", "label_smoothing_factor", "r_drop_alpha", "augment", "mlm_probability",
    "whole_word_masking", "dpo_beta",
)  # fmt: skip
"""Keys of `train` that only some tasks support, as their `supported_options`."""


def _is_language_model(task: Task) -> bool:
    """Whether its models say how likely a sentence is: by masks, or by the next token."""
    return task.masking is not None or bool(task.generation and task.generation.reader)


_NEEDS: Mapping[str, Callable[[Task], object]] = {
    "train.pooling": lambda task: task.pooling,
    # The likelihoods of the reference are those of other tokens.
    "train.add_tokens": lambda task: not task.reference,
    "train.head_start": lambda task: task.probe,
    "data.overlap_tokens": lambda task: task.windows,
    "data.align_answers": lambda task: task.alignment,
    "data.chat_template": lambda task: task.chat,
    "data.train_on": lambda task: task.chat and task.chat.learns_turns,
    "data.instruction": lambda task: task.instruction,
    "data.label_order": lambda task: task.ordered,
    "evaluate.calibration": lambda task: task.calibration,
    "evaluate.decision": lambda task: task.decision,
    "evaluate.max_error": lambda task: task.confidence,
    "evaluate.samples": lambda task: task.generation and not task.generation.scores_texts,
    "evaluate.identity_terms": lambda task: task.probe and task.text_column and not task.outputs_per_token,
    "evaluate.stereotypes": _is_language_model,
    "evaluate.general_text": lambda task: task.generation and task.generation.reader,
    "evaluate.canaries": lambda task: task.generation,
    "evaluate.harmful_prompts": lambda task: task.generation and task.chat and not task.instruction,
    "evaluate.previous": lambda task: task.probe,
    **dict.fromkeys((f"generate.{key}" for key in GenerateRecipe.model_fields), lambda task: task.generation),
}
"""What a task must have for a key to have an effect."""

_SAMPLING = ("generate.temperature", "generate.top_p")


def without_effect(task: Task, recipe: Recipe) -> dict[str, str]:
    """The keys that have no effect in a recipe, each with what it has none on."""
    found = dict.fromkeys(not_for_task(task), in_words(task))
    method = recipe.train.method
    found |= dict.fromkeys(not_for_method(method), _method_in_words(method))
    if not recipe.generate.do_sample:
        found |= dict.fromkeys(_SAMPLING, "answers without `do_sample`")
    if recipe.data.too_long == "cut":
        found.setdefault("data.overlap_tokens", "texts that are cut")
    return found


def in_words(task: Task) -> str:
    """The name of a task, and with which models, where it differs between them."""
    if task.decoders is not None:
        return f"`{task.name}` by a model with an encoder"
    return f"`{task.name}`" if task.instruction is None else f"`{task.name}` by a decoder alone"


def not_for_task(task: Task) -> list[str]:
    """The keys that have no effect on a task, whatever the method."""
    missing = [f"train.{key}" for key in OPTIONAL if key not in task.supported_options]
    return missing + [key for key, has in _NEEDS.items() if not has(task)]


def not_for_method(method: str) -> list[str]:
    """The keys of `train` that have no effect with a method."""
    return [f"train.{key}" for key, methods in METHODS_OF.items() if _named(method) not in methods]


def _named(method: str) -> str:
    """`full` for `auto`, which is another method only if no key is set that belongs to `full`."""
    return "full" if method == "auto" else method


def is_set(recipe: Recipe, key: str) -> bool:
    """Whether a key has another value than its default."""
    section, _, name = key.partition(".")
    return bool(getattr(getattr(recipe, section), name) != default_of(key))


def default_of(key: str) -> object:
    """The default of a key."""
    section, _, name = key.partition(".")
    part = getattr(Recipe.model_validate({"data": {"train": ["-"]}}), section)
    return type(part).model_fields[name].get_default()


def _method_in_words(method: str) -> str:
    return {"probe": "a probe, which fits the head alone"}.get(method, f"method `{_named(method)}`")
