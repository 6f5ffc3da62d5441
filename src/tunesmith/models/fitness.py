"""What a model must be able to do for a task, tried with two short texts when it is opened.

A class may need more than text (boxes on a page, an image), or be of another kind than its name in the table of
transformers suggests: BERT is listed among the models that write, and reads the tokens that it should predict.
"""

from __future__ import annotations

import inspect
from typing import Any

from tunesmith.errors import ModelError
from tunesmith.models.padding import measure_padding
from tunesmith.models.positions import usable_positions
from tunesmith.models.resolve import ModelFiles
from tunesmith.models.trial import LONGER, SHORTER, is_close, trying, two_texts
from tunesmith.tasks import Task

_LONG = 72
"""Tokens: more than what recurrent layers read in one piece."""
_TOLERANCE = 1e-4
"""Of the largest output: what a later token changes in models that read both ways is 1e-2 and more."""


def try_out(files: ModelFiles, model: Any, task: Task, *, learns: bool) -> None:
    """Tries a model on two texts, and measures whether their padding matters.

    Args:
        files: of the model.
        model: that was loaded from them.
        task: it is loaded for.
        learns: whether it shall be trained, so that a backward pass is tried, too.

    Raises:
        ModelError: it cannot compute from text alone, or shall write and reads what comes later.
    """
    batch = _batch(model, writes=task.auto_class == "AutoModelForSeq2SeqLM")
    versions = [parameter._version for parameter in model.parameters()]
    try:
        with trying(model):
            before = _outputs(model, batch)
            if task.generates:
                _write_tokens(model, batch)
        measure_padding(model, batch, before, _outputs)
        if learns:
            _learn(model, batch)
    except Exception as error:  # whatever a class raises that lacks an input
        line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelError(
            f"`{type(model).__name__}` cannot be used for {task.name}: on a short text it ends in `{line}`.",
            remedy=f"Choose a model that reads text alone, for example `{task.suggested_model}`.",
            place=str(files.path),
        ) from None
    if versions != [parameter._version for parameter in model.parameters()]:
        raise ModelError(
            f"`{type(model).__name__}` changes its weights while it reads, so what is saved would be another model.",
            remedy=f"Choose another model, for example `{task.suggested_model}`.",
            place=str(files.path),
        )
    if task.auto_class == "AutoModelForCausalLM" and _reads_ahead(model, batch, before):
        raise ModelError(
            f"`{type(model).__name__}` cannot go on from a text: it reads the tokens that it shall predict.",
            remedy=f"Choose a model that reads from left to right, for example `{task.suggested_model}`.",
            place=str(files.path),
        )


def _write_tokens(model: Any, batch: dict[str, Any]) -> None:
    """Lets a model write after the first text; the second token is computed from what the first has left."""
    prompt = {name: tensor[:1] for name, tensor in batch.items() if not name.startswith("decoder")}
    model.generate(**prompt, max_new_tokens=2, min_new_tokens=2, num_beams=1, do_sample=False)


def _learn(model: Any, batch: dict[str, Any]) -> None:
    """A forward pass as in training over a text of a usual length, and a backward pass to the token table."""
    import torch

    length = min(_LONG, usable_positions(model) or _LONG)
    longer = {name: tensor[:1].repeat(1, _LONG)[:, :length] for name, tensor in batch.items()}
    if "decoder_input_ids" not in batch and getattr(model.config, "is_encoder_decoder", False):
        longer["input_ids"][0, -1] = model.config.eos_token_id

    modes = [(module, module.training) for module in model.modules()]
    model.train()
    try:
        with torch.random.fork_rng(), torch.enable_grad():
            table = model.get_input_embeddings().weight
            torch.autograd.grad(_outputs(model, longer).sum(), table, allow_unused=True)
    finally:
        for module, mode in modes:
            module.training = mode


def run_two_texts(model: Any, *, with_gradient: bool = False) -> Any:
    """A number that depends on all that a whole model makes of two texts."""
    import torch

    batch = _batch(model, writes="decoder_input_ids" in inspect.signature(model.forward).parameters)
    with trying(model), torch.set_grad_enabled(with_gradient):
        return _outputs(model, batch).square().sum()


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
