"""A program's own loss, held to the contract that keeps the average over the global batch exact.

The gradient of a step is that of a sum over items, divided by the number of items in the whole global batch, so a
loss must be a sum. The commonest mistake is a mean, as `reduction="mean"` gives it. It is found by doubling the
first batch: a sum doubles, and a mean stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tunesmith.errors import RecipeError

if TYPE_CHECKING:
    import torch

_TOLERANCE = 1e-3
"""Of the doubled loss; float32 sums over a batch agree to 1e-6, outputs in bfloat16 to 1e-3."""


class OwnLoss:
    """Calls `Hooks.loss`, and checks what it returns.

    Args:
        function: from outputs [b, …] and the batch to the summed loss [], or to one loss for each item.
        warn: function that takes a line for the user.
        compares_rows: whether the task's losses compare all rows of a batch, so that they are no sums over rows.
    """

    def __init__(
        self, function: Callable[..., Any], warn: Callable[[str], None], compares_rows: bool = False
    ) -> None:
        self._function, self._warn = function, warn
        self._is_checked = compares_rows

    def __call__(self, outputs: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The loss, summed over the batch's items.

        Raises:
            RecipeError: the function returned something else.
        """
        loss = self._function(outputs, batch)
        _refuse_wrong(loss, outputs)
        total: torch.Tensor = loss.sum()
        once = float(total.detach())
        if not self._is_checked and math.isfinite(once):
            self._is_checked = True
            self._refuse_mean(once, outputs, batch)
        return total

    def _refuse_mean(self, once: float, outputs: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> None:
        import torch

        with torch.no_grad():
            twice = float(self._function(*_doubled(outputs, batch)).sum())
        if abs(twice - 2 * once) <= _TOLERANCE * abs(2 * once):
            return
        if abs(twice - once) <= _TOLERANCE * abs(once):
            raise RecipeError(
                "loss(outputs, batch) must be a sum over the items of the batch, and it is a mean: for a batch "
                "that is given twice it is the same.",
                remedy='Return the sum, or one loss for each item: `reduction="sum"` or `"none"`.',
            )
        self._warn(
            "the loss is not a sum over rows: for a batch that is given twice, it is not twice as large. So the "
            "result depends on how batches are split into forward passes (train.tokens_per_micro_batch)"
        )


def _doubled(
    outputs: torch.Tensor, batch: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    import torch

    rows = len(outputs)
    return torch.cat([outputs, outputs]), {
        name: torch.cat([values, values]) if len(values) == rows else values for name, values in batch.items()
    }


def _refuse_wrong(loss: Any, outputs: torch.Tensor) -> None:
    """Refuses what is not the sum [] or one loss for each row [b, …], with a gradient."""
    import torch

    if not isinstance(loss, torch.Tensor) or not loss.is_floating_point():
        kind = f"a tensor of {loss.dtype}" if isinstance(loss, torch.Tensor) else f"a `{type(loss).__name__}`"
        problem = f"a tensor of floating-point numbers, and it is {kind}"
    elif loss.ndim and loss.shape[0] % len(outputs):
        shape, rows = list(loss.shape), len(outputs)
        problem = f"the sum [] or one loss for each of {rows} rows [{rows}, …], and its shape is {shape}"
    elif not loss.requires_grad:
        problem = "computed from `outputs`, and it has no gradient"
    else:
        return
    raise RecipeError(
        f"loss(outputs, batch) must be {problem}.",
        remedy="Return a tensor that is computed from `outputs`, without `.item()`, `.detach()` or numpy.",
    )
