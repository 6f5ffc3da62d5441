"""A program's own change of each training batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tunesmith.errors import RecipeError

if TYPE_CHECKING:
    import torch


def own_batch(collate: Callable[..., Any], batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The batch that `Hooks.collate` makes of a padded batch.

    Args:
        collate: function from batch to batch.
        batch: tensors [b, …] by name, on the CPU.

    Raises:
        RecipeError: it is no batch of the same sequences.
    """
    import torch

    rows = len(next(iter(batch.values())))
    made = collate(dict(batch))
    if not isinstance(made, Mapping) or not all(isinstance(x, torch.Tensor) for x in made.values()):
        raise _wrong(f"a dictionary of tensors, and it is a `{type(made).__name__}`")
    if missing := [name for name in batch if name not in made]:
        raise _wrong(f"a batch with every entry, and `{missing[0]}` is missing")
    if other := [name for name, values in made.items() if values.ndim == 0 or len(values) != rows]:
        shape = list(made[other[0]].shape)
        raise _wrong(f"a batch of the same {rows} sequences, and the shape of `{other[0]}` is {shape}")
    return dict(made)


def _wrong(problem: str) -> RecipeError:
    return RecipeError(
        f"collate(batch) must be {problem}.",
        remedy="Change the tensors of the batch, or add some, and return it.",
    )
