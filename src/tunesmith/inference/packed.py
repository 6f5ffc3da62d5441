"""Whether a model keeps the texts of a packed sequence apart, tried with two texts before packing is used.

A class that takes positions may still mix texts: recurrent and convolutional layers carry a state from text to
text, and some classes ignore where positions restart. A text after another one must give the same output as alone.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.data.batches import collate
from tunesmith.data.packing import pack
from tunesmith.encoded import Encoded
from tunesmith.models.device import to_device
from tunesmith.models.out_of_memory import is_out_of_memory
from tunesmith.models.trial import is_close, trying, two_texts
from tunesmith.tasks import Task

if TYPE_CHECKING:
    import torch

    from tunesmith.types import Model

_TOLERANCE = 1e-5
"""Tolerance relative to the largest output: families that work differ by about 1e-7, others by 1e-4 and more."""


def keeps_packed_texts_apart(task: Task, model: Model, pad_token_id: int) -> bool:
    """Whether two packed texts give the same outputs as alone.

    Args:
        task: task whose forward pass is tried.
        model: a model of transformers.
        pad_token_id: padding token of the tokenizer.
    """
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return False
    rows = two_texts(model)
    texts = [ids[mask.bool()].tolist() for ids, mask in zip(*rows.values(), strict=True)]
    apart = Encoded.of({"input_ids": texts, "labels": texts}, rows=[0, 1], n_rows=2)
    packed = pack(apart, sum(map(len, texts)))
    with trying(model):
        alone = [_outputs(task, model, apart.take(np.array([row])), pad_token_id)[0] for row in (0, 1)]
        try:
            together = _outputs(task, model, packed, pad_token_id)[0]
        except Exception as error:  # whatever a class raises that has the parameter and cannot use it
            if is_out_of_memory(error):
                raise
            return False
    first = len(texts[0])
    return all(
        is_close(one, other, _TOLERANCE)
        for one, other in zip((together[:first], together[first:]), alone, strict=True)
    )


def _outputs(task: Task, model: Model, encoded: Encoded, pad_token_id: int) -> torch.Tensor:
    """[b, s, v]."""
    return task.forward(model, to_device(collate(encoded, pad_token_id=pad_token_id), model))
