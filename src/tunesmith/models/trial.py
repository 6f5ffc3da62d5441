"""Short texts on which a model is tried before its behaviour is relied on.

Families differ in ways that their config does not state: how many positions of a table can be used, whether
positions keep packed texts apart, whether padding matters, whether a class computes what its name suggests. A list
of families would be wrong with the next version of transformers. A pass over a few tokens takes milliseconds and
is right. The texts consist of random tokens if there is no tokenizer (`two_texts`). They are real texts for
classes that need their special tokens (`real_texts`: T5, BART, Longformer).
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tunesmith.tasks import Task

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tunesmith.types import Model, Tokenizer

    Batch = dict[str, torch.Tensor]

LONGER, SHORTER = 9, 6
"""Lengths of the two texts in tokens."""
_SHARES = (24, 13, 10)
"""Lengths of the real texts, in 24ths: odd and even numbers of tokens, since some classes pool pairs of tokens."""
_TEXT = "the old cat is near a red dog, and a small blue bird is here again; it is not new. " * 4
_QUESTION = "where is it"
_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "mask_token_id")

_TRIED: weakref.WeakKeyDictionary[Model, Batch] = weakref.WeakKeyDictionary()
"""The first real texts of each model."""


def two_texts(model: Model) -> Batch:
    """A batch of two texts [2, s] of ordinary tokens, the second one padded; the same for each call."""
    import torch

    config = model.config
    size = int(model.get_input_embeddings().weight.shape[0])
    special = {value for name in _SPECIAL if isinstance(value := getattr(config, name, None), int)}
    ordinary = torch.tensor([token for token in range(size) if token not in special][: 1 << 14] or [0])
    drawn = torch.randint(len(ordinary), (2, LONGER), generator=torch.Generator().manual_seed(0))
    input_ids, mask = ordinary[drawn], torch.ones(2, LONGER, dtype=torch.long)
    pad = getattr(config, "pad_token_id", None)
    input_ids[1, SHORTER:] = pad if isinstance(pad, int) and 0 <= pad < size else 0
    mask[1, SHORTER:] = 0
    device = next(model.parameters()).device
    return {"input_ids": input_ids.to(device), "attention_mask": mask.to(device)}


def real_texts(model: Model, tokenizer: Tokenizer, task: Task, most: int) -> Batch:
    """A batch of three texts, or questions with contexts, also as input of a decoder; see `known_texts`.

    Args:
        model: model of transformers.
        tokenizer: tokenizer of the model.
        task: task that the model is for.
        most: number of tokens of the longest text.
    """
    import torch

    text = (_QUESTION, _TEXT) if task.auto_class == "AutoModelForQuestionAnswering" else (_TEXT,)
    lengths = [most * share // _SHARES[0] for share in _SHARES]
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
    _TRIED.setdefault(model, batch)
    return batch


def known_texts(model: Model) -> Batch:
    """The first batch of `real_texts` for a model; `two_texts` if there was none."""
    return _TRIED.get(model) or two_texts(model)


def outputs(model: Model, batch: Batch) -> torch.Tensor:
    """The outputs of the head for a batch; without a head, the last hidden states."""
    made = model(**batch)
    names = ("start_logits", "logits", "last_hidden_state")
    found: torch.Tensor = next(getattr(made, name) for name in names if hasattr(made, name))
    return found


def is_close(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> bool:
    """Whether two results differ by at most this share of the largest value, and are finite in the same places."""
    if one.shape != other.shape or not one.isfinite().equal(other.isfinite()):
        return False
    difference = (one - other).nan_to_num(0.0, 0.0, 0.0).abs().max()
    return bool(difference <= tolerance * other.nan_to_num(0.0, 0.0, 0.0).abs().max())


@contextlib.contextmanager
def trying(model: nn.Module, *, learns: bool = False) -> Iterator[None]:
    """A context in evaluation mode without gradients, or in training mode with gradients.

    At its end, every module is in its old mode, and the random generators are in their old state.

    Args:
        model: model to put into this mode.
        learns: whether the mode is training mode.
    """
    import torch

    modes = [(module, module.training) for module in model.modules()]
    model.train(learns)
    try:
        with torch.random.fork_rng(enabled=learns), torch.set_grad_enabled(learns):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
