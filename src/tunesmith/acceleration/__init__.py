"""Faster code for stock models while tunesmith runs them. The results are the same, and saved models stay stock.

| trick | replaces | the tests compare | |---|---|---| | `encoder` | the stock computation of BERT's layers, which
includes padding | outputs and every gradient, in float64 | | `packed_linear` | products with weights that are not
trained | outputs of every family | | `dropout` | masks that are drawn number by number | shares, scale and seed |
| `pooling` | a stock layer that yields the mean | outputs | | `embedding_rows` | training of the whole token table
| the rows that occur, bit by bit | | `frozen_cache` | frozen layers that are computed again in every epoch | two
texts both ways, in every run |

`accelerated` installs the first four when a model is opened; the last two belong to a training. If a trick does
not fit a model, or this version of torch lacks its operators, the stock code runs. `train.acceleration: false`
switches all of them off. `benchmarks/ablation.py` measures the gain of each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tunesmith.acceleration.switches import TRICKS, is_on, without

if TYPE_CHECKING:
    from torch import nn

    from tunesmith.models.loading import LoadedModel

__all__ = ["TRICKS", "accelerate", "accelerated", "is_on", "without"]


def accelerated(loaded: LoadedModel, *, wanted: bool = True) -> LoadedModel:
    """The model with the faster code installed, and with a note for each part that could not be replaced.

    Args:
        loaded: model, which is changed in place.
        wanted: value of `train.acceleration`; if false, nothing changes.
    """
    notes = accelerate(loaded.model) if wanted else ()
    return replace(loaded, notes=(*loaded.notes, *notes))


def accelerate(model: nn.Module) -> tuple[str, ...]:
    """Installs faster code for pooling, encoder layers, dropout and linear layers, with the same results.

    Args:
        model: model of transformers; its class, its weights and their names stay the same.

    Returns:
        Notes on parts that could not be replaced, although faster code exists for their kind.
    """
    from tunesmith.acceleration import dropout, encoder, packed_linear, pooling

    tricks = {
        "pooling": pooling.install,
        "encoder": encoder.install,
        "dropout": dropout.install,
        "packed_linear": packed_linear.install,
    }
    notes = [install(model) for name, install in tricks.items() if is_on(name)]
    return tuple(note for note in notes if note)
