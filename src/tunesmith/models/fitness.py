"""What a model must be able to do for a task, tried with a few short texts when it is opened.

A class may need more than text (boxes on a page, an image), or be of another kind than its name in the table of
transformers suggests: BERT is listed among the models that write, and reads the tokens that it should predict.
"""

from __future__ import annotations

import weakref
from typing import Any

from tunesmith.errors import ModelError
from tunesmith.models.padding import measure_padding
from tunesmith.models.positions import usable_positions
from tunesmith.models.resolve import ModelFiles
from tunesmith.models.trial import is_close, trying, two_texts
from tunesmith.tasks import Task

_SHORT, _LONG = 24, 72
"""Tokens of the texts; more than recurrent layers read in one piece where a backward pass is tried."""
_SHARES = (13, 10)
"""Of 24, the shorter texts: an odd and an even number of tokens, since some classes pool two and two."""
_TEXT = "the old cat is near a red dog, and a small blue bird is here again; it is not new. " * 4
_QUESTION = "where is it"
_TOLERANCE = 1e-4
"""Of the largest output: what a later token changes in models that read both ways is 1e-2 and more."""


_TRIED: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()
"""The batches that models were tried with."""


def try_out(files: ModelFiles, model: Any, tokenizer: Any, task: Task, *, learns: bool) -> None:
    """Tries a model on a few texts, and measures whether their padding matters.

    Args:
        files: of the model.
        model: that was loaded from them.
        tokenizer: of the model; some classes look for its special tokens (T5, BART, Longformer).
        task: it is loaded for.
        learns: whether it shall be trained, so that a backward pass is tried, too.

    Raises:
        ModelError: it cannot compute from text alone, or shall write and reads what comes later.
    """
    batch = _TRIED[model] = _batch(model, tokenizer, task, _SHORT)
    versions = [parameter._version for parameter in model.parameters()]
    try:
        with trying(model):
            before = _outputs(model, batch)
            if task.generation:
                _write_tokens(model, batch)
        measure_padding(model, batch, before, _outputs)
        if learns:
            _learn(model, _batch(model, tokenizer, task, _LONG))
    except Exception as error:  # whatever a class raises that lacks an input
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
    if task.auto_class == "AutoModelForCausalLM" and _reads_ahead(model, batch, before):
        raise ModelError(
            f"`{type(model).__name__}` cannot go on from a text: it reads the tokens that it shall predict.",
            remedy=f"Choose a model that reads from left to right, for example `{task.suggested_model}`.",
            location=str(files.path),
        )


def _write_tokens(model: Any, batch: dict[str, Any]) -> None:
    """Lets a model write after the first text; the second token is computed from what the first has left."""
    prompt = {name: tensor[:1] for name, tensor in batch.items() if not name.startswith("decoder")}
    model.generate(**prompt, max_new_tokens=2, min_new_tokens=2, num_beams=1, do_sample=False)


def _learn(model: Any, batch: dict[str, Any]) -> None:
    """A forward pass as in training over a text of a usual length, and a backward pass to the token table."""
    import torch

    modes = [(module, module.training) for module in model.modules()]
    model.train()
    try:
        with torch.random.fork_rng(), torch.enable_grad():
            table = model.get_input_embeddings().weight
            torch.autograd.grad(_outputs(model, batch).sum(), table, allow_unused=True)
    finally:
        for module, mode in modes:
            module.training = mode


def run_texts(model: Any, *, with_gradient: bool = False) -> Any:
    """A number that depends on all that a whole model makes of a few texts."""
    import torch

    with trying(model), torch.set_grad_enabled(with_gradient):
        return _outputs(model, _TRIED.get(model) or two_texts(model)).square().sum()


def _batch(model: Any, tokenizer: Any, task: Task, most: int) -> dict[str, Any]:
    """Three texts, or questions with contexts, the longest of so many tokens; a decoder reads them, too."""
    import torch

    text = (_QUESTION, _TEXT) if task.auto_class == "AutoModelForQuestionAnswering" else (_TEXT,)
    most = min(most, usable_positions(model) or most)
    lengths = [most, *(most * share // 24 for share in _SHARES)]
    ids = [tokenizer(*text, truncation=True, max_length=length, verbose=False) for length in lengths]
    rows = [torch.tensor(one["input_ids"]) for one in ids]
    pad = torch.nn.utils.rnn.pad_sequence
    batch = {
        "input_ids": pad(rows, batch_first=True, padding_value=tokenizer.pad_token_id),
        "attention_mask": pad([torch.ones_like(row) for row in rows], batch_first=True),
    }
    batch = {name: tensor.to(next(model.parameters()).device) for name, tensor in batch.items()}
    if task.auto_class == "AutoModelForSeq2SeqLM":
        batch["decoder_input_ids"] = batch["input_ids"]
    return batch


def _outputs(model: Any, batch: dict[str, Any]) -> Any:
    outputs = model(**batch)
    return outputs.start_logits if hasattr(outputs, "start_logits") else outputs.logits


def _reads_ahead(model: Any, batch: dict[str, Any], before: Any) -> bool:
    """Whether the last token of the first text changes what is predicted before it."""
    last = int(batch["attention_mask"][0].sum()) - 1
    changed = batch["input_ids"].clone()
    changed[0, last] = changed[0, 1]
    with trying(model):
        after = _outputs(model, {**batch, "input_ids": changed})
    return not is_close(after[0, :last], before[0, :last], _TOLERANCE)
