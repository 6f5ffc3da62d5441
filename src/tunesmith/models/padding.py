"""Finds out whether padding changes the outputs of a model.

Some classes ignore the attention mask (FNet), mix neighbours across the end of a text (ConvBERT, Funnel), or
select among all tokens of a batch. Their outputs for a text would depend on the other texts in the batch, so they
only get batches of texts of one length. Each model is tried when it is opened.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from tunesmith.models.trial import is_close, trying

if TYPE_CHECKING:
    import torch

    from tunesmith.models.trial import Batch
    from tunesmith.types import Model

_TOLERANCE = 2e-5
"""Share of the largest output; rounding changes 1e-6 and less, an ignored mask 1e-4 and more."""

_MATTERS: weakref.WeakKeyDictionary[Model, bool] = weakref.WeakKeyDictionary()


def padding_matters(model: Model) -> bool:
    """The result of `measure_padding`; False for a model that was not measured."""
    return _MATTERS.get(model, False)


def measure_padding(
    model: Model, batch: Batch, outputs: torch.Tensor, compute: Callable[[Model, Batch], torch.Tensor]
) -> None:
    """Compares texts in one batch with the same texts alone.

    Args:
        model: model of transformers.
        batch: `input_ids` and `attention_mask` [b, s], padded on the right, and other inputs of the model.
        outputs: outputs of the model for this batch, [b, …].
        compute: function from a model and a batch to outputs.
    """
    for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        alone = {name: tensor[row : row + 1, :length] for name, tensor in batch.items()}
        with trying(model):
            one = compute(model, alone)[0]
        other = outputs[row]
        if len(other) == batch["input_ids"].shape[1]:  # an output for each token
            other = other[: len(one)]
        if not is_close(one, other, _TOLERANCE):
            _MATTERS[model] = True
            return
    _MATTERS[model] = False


PADDING_NOTE = "padding changes the outputs of this model: a batch only has texts of the same length"
