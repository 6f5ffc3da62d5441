"""Tries a model on a few short texts when it is opened: whether it can do what a task needs.

Some classes need more than text (boxes on a page, an image). Others are listed by transformers for a task that
they cannot do: BERT is among the models that generate text, but it reads the tokens that it must predict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.errors import ModelError, first_line, is_panic
from tunesmith.models.out_of_memory import refuse_too_large
from tunesmith.models.padding import measure_padding, padding_matters
from tunesmith.models.positions import usable_positions
from tunesmith.models.quiet import quiet
from tunesmith.models.resolve import ModelFiles
from tunesmith.models.trial import is_close, outputs, real_texts, trying
from tunesmith.tasks import Task

if TYPE_CHECKING:
    import torch

    from tunesmith.types import Model, Tokenizer

_SHORT, _LONG = 24, 72
"""Lengths of the texts in tokens; for the backward pass, more than a recurrent layer reads in one piece."""
_TOLERANCE = 1e-4
"""Share of the largest output; in models that read both ways, a later token changes 1e-2 and more."""


def try_out(files: ModelFiles, model: Model, tokenizer: Tokenizer, task: Task, *, learns: bool) -> None:
    """Tries a model on a few texts, and measures whether padding changes its outputs.

    Args:
        files: files of the model.
        model: model that was loaded from these files.
        tokenizer: tokenizer of the model; some classes need its special tokens (T5, BART, Longformer).
        task: task that the model is loaded for.
        learns: whether the model will be trained; then a backward pass is tried, too.

    Raises:
        ModelError: the model needs more than text, cannot generate text for a task that does, changes its weights
            when it reads, or does not fit into the memory.
    """
    versions = [parameter._version for parameter in model.parameters()]
    try:
        batch, before = _run(model, tokenizer, task, learns=learns)
    except BaseException as error:  # a class without one of its inputs may raise anything
        if is_panic(error):
            raise ModelError(
                f"the tokenizer of `{files.name}` gives up on a short text: {first_line(error)}",
                remedy="Its tokenizer.json has a pattern that takes too long; use another copy of the model.",
                location=str(files.path),
            ) from None
        if not isinstance(error, Exception):
            raise
        refuse_too_large(error, files)
        line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelError(
            f"`{type(model).__name__}` cannot be used for {task.name}: on a short text it fails with `{line}`.",
            remedy=f"Choose a model that needs nothing but text, for example `{task.suggested_model}`.",
            location=str(files.path),
        ) from None
    if versions != [parameter._version for parameter in model.parameters()]:
        raise ModelError(
            f"`{type(model).__name__}` changes its weights when it reads a text, so the saved model would differ.",
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
            f"`{type(model).__name__}` cannot generate text: it reads the tokens that it must predict.",
            remedy=f"Choose a model that reads from left to right, for example `{task.suggested_model}`.",
            location=str(files.path),
        )


def _run(
    model: Model, tokenizer: Tokenizer, task: Task, *, learns: bool
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Runs everything that the task will need of the model; returns the short texts and their outputs."""
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
    """Lets a model generate two tokens after the first text; the second one reads the cache of the first."""
    prompt = {name: tensor[:1] for name, tensor in batch.items() if not name.startswith("decoder")}
    with quiet():
        model.generate(**prompt, max_new_tokens=2, min_new_tokens=2, num_beams=1, do_sample=False)


def _learn(model: Model, batch: dict[str, torch.Tensor]) -> None:
    """Runs a forward pass as in training over texts of a usual length, and a backward pass to the embeddings."""
    import torch

    with trying(model, learns=True):
        table = model.get_input_embeddings().weight
        torch.autograd.grad(outputs(model, batch).sum(), table, allow_unused=True)


def _reads_ahead(model: Model, batch: dict[str, torch.Tensor], before: torch.Tensor) -> bool:
    """Whether the last token of the first text changes the outputs before it."""
    last = int(batch["attention_mask"][0].sum()) - 1
    changed = batch["input_ids"].clone()
    changed[0, last] = changed[0, 1]
    with trying(model):
        after = outputs(model, {**batch, "input_ids": changed})
    return not is_close(after[0, :last], before[0, :last], _TOLERANCE)
