"""What a model must be able to do for a task, tried with two short texts when it is opened.

A class may need more than text (boxes on a page, an image), or be of another kind than its name in the table of
transformers suggests: BERT is listed among the models that write, and reads the tokens that it should predict.
"""

from __future__ import annotations

import inspect
from typing import Any

from tunesmith.errors import ModelError
from tunesmith.models.padding import measure_padding
from tunesmith.models.resolve import ModelFiles
from tunesmith.models.trial import LONGER, SHORTER, is_close, trying, two_texts
from tunesmith.tasks import Task

_TOLERANCE = 1e-4
"""Of the largest output: what a later token changes in models that read both ways is 1e-2 and more."""


def try_out(files: ModelFiles, model: Any, task: Task) -> None:
    """Tries a model on two texts, and measures whether their padding matters.

    Args:
        files: of the model.
        model: that was loaded from them.
        task: it is loaded for.

    Raises:
        ModelError: it cannot compute from text alone, or shall write and reads what comes later.
    """
    batch = _batch(model, writes=task.auto_class == "AutoModelForSeq2SeqLM")
    try:
        with trying(model):
            before = _outputs(model, batch)
        measure_padding(model, batch, before, _outputs)
    except Exception as error:  # whatever a class raises that lacks an input
        line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelError(
            f"`{type(model).__name__}` cannot be used for {task.name}: on a short text it ends in `{line}`.",
            remedy=f"Choose a model that reads text alone, for example `{task.suggested_model}`.",
            place=str(files.path),
        ) from None
    if task.auto_class == "AutoModelForCausalLM" and _reads_ahead(model, batch, before):
        raise ModelError(
            f"`{type(model).__name__}` cannot go on from a text: it reads the tokens that it shall predict.",
            remedy=f"Choose a model that reads from left to right, for example `{task.suggested_model}`.",
            place=str(files.path),
        )


def run_two_texts(model: Any) -> None:
    """Lets a whole model read two texts, whatever it makes of them."""
    with trying(model):
        model(**_batch(model, writes="decoder_input_ids" in inspect.signature(model.forward).parameters))


def _batch(model: Any, *, writes: bool) -> dict[str, Any]:
    """Two texts, each with an end where a class looks for it (T5, BART); a decoder that writes reads them, too."""
    batch: dict[str, Any] = two_texts(model)
    end = getattr(model.config, "eos_token_id", None)
    if getattr(model.config, "is_encoder_decoder", False) and isinstance(end, int):
        batch["input_ids"][0, LONGER - 1] = batch["input_ids"][1, SHORTER - 1] = end
    if writes:
        batch["decoder_input_ids"] = batch["input_ids"]
    return batch


def _outputs(model: Any, batch: dict[str, Any]) -> Any:
    outputs = model(**batch)
    return outputs.start_logits if hasattr(outputs, "start_logits") else outputs.logits


def _reads_ahead(model: Any, batch: dict[str, Any], before: Any) -> bool:
    """Whether the last token of the first text changes what is predicted before it."""
    changed = batch["input_ids"].clone()
    changed[0, LONGER - 1] = changed[0, 0]
    with trying(model):
        after = _outputs(model, {**batch, "input_ids": changed})
    return not is_close(after[0, : LONGER - 1], before[0, : LONGER - 1], _TOLERANCE)
