"""Faster arithmetic for stock models while they run here; what is saved stays stock, and so do the results.

| trick | in place of | proof |
|---|---|---|
| `encoder` | the way through BERT's layers, padding included | outputs and every gradient, in float64 |
| `packed_linear` | products with weights that do not learn | outputs of every family |
| `dropout` | masks drawn number by number | shares, scale and seed |
| `pooling` | a stock layer that computes the mean | outputs |
| `embedding_rows` | training the whole token table | the rows that occur, bit by bit |
| `frozen_cache` | frozen layers, computed again in every epoch | two texts both ways, in every run |

`accelerated` installs the first four when a model is opened; the last two belong to a training. A trick that does
not fit a model, or whose operators this torch lacks, leaves the stock arithmetic in place. `train.acceleration:
false` is the one switch for all of them. `benchmarks/ablation.py` measures what each is worth.
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
    """An opened model with the faster arithmetic in place, and what the user should know of it among its notes.

    Args:
        loaded: the model, changed in place.
        wanted: `train.acceleration` of the recipe; false leaves everything as it is.
    """
    notes = accelerate(loaded.model) if wanted else ()
    return replace(loaded, notes=(*loaded.notes, *notes))


def accelerate(model: nn.Module) -> tuple[str, ...]:
    """Replaces the arithmetic of pooling, layers, dropout and linear layers by faster ways to the same results.

    Args:
        model: of transformers; it keeps its class, its weights and their names.

    Returns:
        Notes of what could not be replaced, though it is of a kind that is.
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
