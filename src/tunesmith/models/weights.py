"""Whether a model's files hold what its class needs, under the names that it uses."""

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
    """A model that was never trained to write would begin with a random vocabulary."""
    if missing and not (task.makes_head or heads.has_head(wanted)):
        raise ModelError(
            f"`{files.name}` is no model for {task.name}: its weights lack `{sorted(missing)[0]}`.",
            remedy=f"Choose a model that writes text, for example `{task.suggested_model}`.",
        )


def refuse_holes(files: ModelFiles, model: Model, missing: set[str], pooling_layer: int | None) -> None:
    """A body with holes would be trained from noise."""
    made_here = f"layer.{pooling_layer}."
    holes = [n for n in missing if not is_head(model, n) and (pooling_layer is None or made_here not in n)]
    if holes:
        raise ModelError(
            f"the weights of `{files.name}` lack {len(holes)} tensors of its body (`{sorted(holes)[0]}`).",
            remedy="The files are damaged or of another architecture than config.json says.",
            location=str(files.path),
        )


def refuse_foreign_tokenizer(files: ModelFiles, model: Model, n_tokens: int) -> None:
    """Ids beyond the model's table could not be read."""
    try:
        rows = int(model.get_input_embeddings().weight.shape[0])
    except (NotImplementedError, AttributeError):
        raise ModelError(
            f"`{type(model).__name__}` has no table of tokens: it reads characters or something else.",
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
    """Whether a tensor lies outside the pretrained body; the pooler, which BERT puts inside, does."""
    if model.base_model is model:
        return name.startswith("pooler.")
    return not name.startswith(f"{model.base_model_prefix}.") or ".pooler." in name


def other_body_name(model: Model, info: JsonObject) -> dict[str, str]:
    """What `from_pretrained` must rename where the files call the body otherwise than the task's class.

    `LlamaForQuestionAnswering` says `transformer.` to what `LlamaForCausalLM` saves as `model.`.
    """
    body = f"{model.base_model_prefix}."
    lacking = [name.removeprefix(body) for name in info["missing_keys"] if name.startswith(body)]
    there = set(info["unexpected_keys"])
    for other in {name.partition(".")[0] for name in there}:
        if lacking and all(f"{other}.{name}" in there for name in lacking):
            return {rf"^{re.escape(other)}\.": body}
    return {}


def save_as_named(model: Model, renamed: dict[str, str]) -> None:
    """Lets a model be saved under the names of its class: transformers would undo the renaming."""
    kept = [c for c in getattr(model, "_weight_conversions", ()) if not set(c.source_patterns) & set(renamed)]
    model._weight_conversions = kept
