"""Whether padding changes what a model makes of a text.

Some classes ignore the attention mask (FNet), mix neighbours across the end of a text (ConvBERT, Funnel), or
choose what they attend to among all tokens of a batch. Their answer to a text would depend on the texts beside it,
so they are given texts of one length at a time. Which classes they are is tried when a model is opened.
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
"""Of the largest output: rounding is 1e-6 of it and less, a mask that is ignored 1e-4 and more."""

_MATTERS: weakref.WeakKeyDictionary[Model, bool] = weakref.WeakKeyDictionary()


def padding_matters(model: Model) -> bool:
    """What `measure_padding` has found; a model that was never measured is taken for one that heeds its mask."""
    return _MATTERS.get(model, False)


def measure_padding(
    model: Model, batch: Batch, outputs: torch.Tensor, compute: Callable[[Model, Batch], torch.Tensor]
) -> None:
    """Compares texts in one batch with the same texts alone.

    Args:
        model: of transformers.
        batch: `input_ids` and `attention_mask`, [b, s], padded on the right, and what else the model needs.
        outputs: of the model for that batch, [b, …].
        compute: from a model and a batch to outputs.
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


PADDING_NOTE = (
    "padding changes what this model computes: texts are only read beside others of the same length"
)
