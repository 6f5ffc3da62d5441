"""From format 1, before runs had a format: the field's words, and which keys of the recipe were given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tunesmith.run.migrations.step import Document, Step, renamed

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _manifest(document: Document) -> Document:
    now = renamed(document, {"targets": "label_schema", "untouched": "base_model"})
    return now | {"requested_keys": sorted(_given(document.get("requested", {})))}


def _metrics(document: Document) -> Document:
    baselines = renamed(document.get("baselines", {}), {"untouched": "base_model"})
    return document | {"baselines": baselines} if baselines else document


def _state(document: Document) -> Document:
    return renamed(document, {"looks_without_gain": "evals_without_improvement"})


STEP: Step = {"manifest": _manifest, "metrics": _metrics, "state": _state}


def _given(requested: Document) -> Iterator[str]:
    """Keys of a whole recipe that have another value than their default in format 1."""
    for name, value in requested.items():
        values = (
            {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
        )
        yield from (key for key, v in values.items() if key not in _DEFAULTS or v != _DEFAULTS[key])


# As they were: what a later version changes in its recipe does not belong here.
_DEFAULTS: JsonObject = {
    "task": "text-classification",
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "seed": 42,
    "data.validation": 0.1,
    "data.test": None,
    "data.columns": {},
    "data.group_by": None,
    "data.align_answers": "exact",
    "data.max_length": "auto",
    "data.too_long": "auto",
    "data.overlap_tokens": "auto",
    "data.packing": "auto",
    "data.chat_template": "auto",
    "data.bad_rows": "stop",
    "train.method": "full",
    "train.pooling": "auto",
    "train.head_start": True,
    "train.freeze_layers": 0,
    "train.cache_frozen_layers": "auto",
    "train.freeze_embeddings": False,
    "train.freeze": [],
    "train.layer_lr_decay": 1.0,
    "train.lora_r": 16,
    "train.lora_alpha": 32.0,
    "train.lora_dropout": 0.05,
    "train.lora_target_modules": "auto",
    "train.use_dora": False,
    "train.use_rslora": False,
    "train.num_train_epochs": "auto",
    "train.max_steps": None,
    "train.learning_rate": "auto",
    "train.lr_scheduler_type": "linear",
    "train.warmup_steps": 0.1,
    "train.weight_decay": 0.01,
    "train.max_grad_norm": 1.0,
    "train.tokens_per_batch": "auto",
    "train.per_device_train_batch_size": None,
    "train.gradient_accumulation_steps": 1,
    "train.tokens_per_micro_batch": "auto",
    "train.gradient_checkpointing": False,
    "train.bf16": "auto",
    "train.class_weights": "none",
    "train.focal_gamma": 0.0,
    "train.label_smoothing_factor": 0.0,
    "train.r_drop_alpha": 0.0,
    "train.neftune_noise_alpha": 0.0,
    "train.augment": {},
    "train.mlm_probability": 0.15,
    "train.whole_word_masking": False,
    "train.dpo_beta": 0.1,
    "train.eval_steps": "auto",
    "train.save_steps": "auto",
    "train.logging_steps": 10,
    "train.early_stopping_patience": None,
    "generate.max_new_tokens": "auto",
    "generate.num_beams": 1,
    "generate.do_sample": False,
    "generate.temperature": 1.0,
    "generate.top_p": 1.0,
    "evaluate.confidence": 0.95,
    "evaluate.bootstrap_samples": 1000,
    "evaluate.baselines": True,
    "evaluate.samples": 8,
    "evaluate.slices": [],
    "evaluate.groups": [],
    "export.min_agreement": 0.99,
    "export.max_metric_drop": 0.01,
}
