"""Checks that a model's files hold the weights that its class needs, under the names that it uses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tunesmith.errors import ModelError
from tunesmith.models import heads
from tunesmith.models.resolve import ModelFiles
from tunesmith.tasks import Task

if TYPE_CHECKING:
    from tunesmith.types import JsonObject, Model


def refuse_headless(files: ModelFiles, task: Task, missing: set[str], wanted: JsonObject) -> None:
    """Raises if the output layer of a model that generates text is missing: it would start from random numbers."""
    if missing and not (task.makes_head or heads.has_head(wanted)):
        raise ModelError(
            f"`{files.name}` is not a model for {task.name}: its weights lack `{sorted(missing)[0]}`.",
            remedy=f"Choose a model that generates text, for example `{task.suggested_model}`.",
        )


def refuse_holes(files: ModelFiles, model: Model, missing: set[str], pooling_layer: int | None) -> None:
    """Raises if weights of the body are missing: these would be trained from random numbers."""
    made_here = f"layer.{pooling_layer}."
    holes = [n for n in missing if not is_head(model, n) and (pooling_layer is None or made_here not in n)]
    if holes:
        raise ModelError(
            f"the weights of `{files.name}` lack {len(holes)} tensors of its body (`{sorted(holes)[0]}`).",
            remedy="The files are damaged, or they belong to another architecture than config.json states.",
            location=str(files.path),
        )


def refuse_foreign_tokenizer(files: ModelFiles, model: Model, n_tokens: int) -> None:
    """Raises if the tokenizer has ids beyond the model's token embeddings."""
    try:
        rows = int(model.get_input_embeddings().weight.shape[0])
    except (NotImplementedError, AttributeError):
        raise ModelError(
            f"`{type(model).__name__}` has no token embeddings: it reads characters or other input.",
            remedy="Choose a model of another architecture.",
            location=str(files.path),
        ) from None
    if n_tokens > rows:
        raise ModelError(
            f"the tokenizer of `{files.name}` has {n_tokens} tokens, and the model knows {rows}.",
            remedy="The tokenizer's files belong to another model.",
            location=str(files.path),
        )


def is_head(model: Model, name: str) -> bool:
    """Whether a tensor is outside of the pretrained body; BERT's pooler is, although its name is inside."""
    if _is_body(model):
        return name.startswith("pooler.")
    return not name.startswith(f"{model.base_model_prefix}.") or ".pooler." in name


def _is_body(model: Model) -> bool:
    """Whether a model is a body without a head; T5's class for question answering only looks like one."""
    from transformers import MODEL_MAPPING

    bodies = MODEL_MAPPING.get(type(model.config), ())
    return type(model) in (bodies if isinstance(bodies, (list, tuple)) else (bodies,))


def other_body_name(model: Model, info: JsonObject) -> dict[str, str]:
    """The renaming for `from_pretrained` if the files name the body differently from the task's class.

    `LlamaForQuestionAnswering` names the body `transformer.`, and `LlamaForCausalLM` saves it as `model.`.
    """
    body = f"{model.base_model_prefix}."
    lacking = [name.removeprefix(body) for name in info["missing_keys"] if name.startswith(body)]
    there = set(info["unexpected_keys"])
    for other in {name.partition(".")[0] for name in there}:
        if lacking and all(f"{other}.{name}" in there for name in lacking):
            return {rf"^{re.escape(other)}\.": body}
    return {}


def save_as_named(model: Model, renamed: dict[str, str]) -> None:
    """Makes a model save its weights under the names of its class; transformers would undo the renaming."""
    kept = [c for c in getattr(model, "_weight_conversions", ()) if not set(c.source_patterns) & set(renamed)]
    model._weight_conversions = kept
