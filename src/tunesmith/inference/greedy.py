"""Greedy decoding: what a model writes if it always takes the likeliest token.

Whether it writes a given text needs no decoding: it does if each token of the text is the likeliest one after
those before it. So one forward pass is enough, which is many times as fast.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.inference.forward import Advance, forward
from tunesmith.tasks import IGNORED, Batch, Task
from tunesmith.tasks._language import next_token

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.encoded import Encoded
    from tunesmith.types import Model, Tokenizer


@contextmanager
def greedy(model: Model, most_tokens: int) -> Iterator[None]:
    """The model decodes greedily meanwhile, and writes at most so many tokens, or fewer if it is set so."""
    before = model.generation_config
    made = copy.deepcopy(before)
    made.update(
        do_sample=False,
        num_beams=1,
        temperature=None,
        top_p=None,
        top_k=None,
        max_new_tokens=min(before.max_new_tokens or most_tokens, most_tokens),
    )
    model.generation_config = made
    try:
        yield
    finally:
        model.generation_config = before


def nats_and_misses(
    task: Task, model: Model, tokenizer: Tokenizer, encoded: Encoded, advance: Advance | None = None
) -> NDArray[np.float64]:
    """[sequences, 2]: the negative log-likelihood of the labels, and how many of them are not the likeliest token.

    Args:
        task: task that computes logits of such sequences.
        model: a model that writes.
        tokenizer: tokenizer of the model.
        encoded: sequences with labels.
        advance: function that is called with the progress.
    """
    asked = copy.copy(task)  # a task's object has no state; the copy differs from it by this member alone
    vars(asked).update(select_outputs=_nats_and_misses)
    found = forward(asked, model, encoded, pad_token_id=tokenizer.pad_token_id, advance=advance)
    return np.asarray(found, dtype=np.float64)


def _nats_and_misses(outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
    import torch
    from torch.nn import functional as F

    if "decoder_labels" in batch:
        logits, targets = outputs, batch["decoder_labels"]
    else:
        logits, targets = next_token(outputs, batch["labels"])
    precise = logits.float()
    counted = targets != IGNORED
    each = F.cross_entropy(
        precise.flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction="none"
    ).view(targets.shape)
    missed = (precise.argmax(-1) != targets) & counted
    values = torch.stack([each, missed.to(each.dtype)], dim=-1)
    if targets.ndim == 2:
        return values.sum(1)
    # Logits of the labelled positions alone, in the order of rows and tokens.
    rows = (batch["labels"][:, 1:] != IGNORED).nonzero()[:, 0]
    return values.new_zeros(len(batch["labels"]), 2).index_add(0, rows, values)
