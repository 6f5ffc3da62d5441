"""What a model must be able to do for a task, tried with a few short texts when it is opened.

A class may need more than text (boxes on a page, an image), or be of another kind than its name in the table of
transformers suggests: BERT is listed among the models that write, and reads the tokens that it should predict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.errors import ModelError
from tunesmith.models.out_of_memory import refuse_too_large
from tunesmith.models.padding import measure_padding, padding_matters
from tunesmith.models.positions import usable_positions
from tunesmith.models.resolve import ModelFiles
from tunesmith.models.trial import is_close, outputs, real_texts, trying
from tunesmith.tasks import Task

if TYPE_CHECKING:
    import torch

    from tunesmith.types import Model, Tokenizer

_SHORT, _LONG = 24, 72
"""Tokens of the texts; more than recurrent layers read in one piece where a backward pass is tried."""
_TOLERANCE = 1e-4
"""Of the largest output: what a later token changes in models that read both ways is 1e-2 and more."""


def try_out(files: ModelFiles, model: Model, tokenizer: Tokenizer, task: Task, *, learns: bool) -> None:
    """Tries a model on a few texts, and measures whether their padding matters.

    Args:
        files: of the model.
        model: that was loaded from them.
        tokenizer: of the model; some classes look for its special tokens (T5, BART, Longformer).
        task: it is loaded for.
        learns: whether it shall be trained, so that a backward pass is tried, too.

    Raises:
        ModelError: it cannot compute from text alone, or shall write and reads what comes later; or the memory is
            too small for it.
    """
    versions = [parameter._version for parameter in model.parameters()]
    try:
        batch, before = _run(model, tokenizer, task, learns=learns)
    except Exception as error:  # whatever a class raises that lacks an input
        refuse_too_large(error, files)
        line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelError(
            f"`{type(model).__name__}` cannot be used for {task.name}: on a short text it ends in `{line}`.",
            remedy=f"Choose a model that reads text alone, for example `{task.suggested_model}`.",
            location=str(files.path),
        ) from None
    if versions != [parameter._version for parameter in model.parameters()]:
        raise ModelError(
            f"`{type(model).__name__}` changes its weights while it reads: what is saved would be another model.",
            remedy=f"Choose another model, for example `{task.suggested_model}`.",
            location=str(files.path),
        )
    if task.vectors is not None and padding_matters(model):
        raise ModelError(
            f"padding changes what `{type(model).__name__}` makes of a text: its vector would depend on the texts "
            "beside it.",
            remedy=f"Choose another model, for example `{task.suggested_model}`.",
            location=str(files.path),
        )
    if task.auto_class == "AutoModelForCausalLM" and _reads_ahead(model, batch, before):
        raise ModelError(
            f"`{type(model).__name__}` cannot go on from a text: it reads the tokens that it shall predict.",
            remedy=f"Choose a model that reads from left to right, for example `{task.suggested_model}`.",
            location=str(files.path),
        )


def _run(
    model: Model, tokenizer: Tokenizer, task: Task, *, learns: bool
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Everything that a task will ask of the model; the short texts, and what comes out of them."""
    batch = real_texts(model, tokenizer, task, _at_most(model, _SHORT))
    with trying(model):
        before = outputs(model, batch)
        if task.generation:
            _write_tokens(model, batch)
    measure_padding(model, batch, before, outputs)
    if learns:
        _learn(model, real_texts(model, tokenizer, task, _at_most(model, _LONG)))
    return batch, before


def _at_most(model: Model, tokens: int) -> int:
    return min(tokens, usable_positions(model) or tokens)


def _write_tokens(model: Model, batch: dict[str, torch.Tensor]) -> None:
    """Lets a model write after the first text; the second token is computed from what the first has left."""
    prompt = {name: tensor[:1] for name, tensor in batch.items() if not name.startswith("decoder")}
    model.generate(**prompt, max_new_tokens=2, min_new_tokens=2, num_beams=1, do_sample=False)


def _learn(model: Model, batch: dict[str, torch.Tensor]) -> None:
    """A forward pass as in training over a text of a usual length, and a backward pass to the token table."""
    import torch

    with trying(model, learns=True):
        table = model.get_input_embeddings().weight
        torch.autograd.grad(outputs(model, batch).sum(), table, allow_unused=True)


def _reads_ahead(model: Model, batch: dict[str, torch.Tensor], before: torch.Tensor) -> bool:
    """Whether the last token of the first text changes what is predicted before it."""
    last = int(batch["attention_mask"][0].sum()) - 1
    changed = batch["input_ids"].clone()
    changed[0, last] = changed[0, 1]
    with trying(model):
        after = outputs(model, {**batch, "input_ids": changed})
    return not is_close(after[0, :last], before[0, :last], _TOLERANCE)
