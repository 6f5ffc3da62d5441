"""Stops a run whose loss or gradient is infinite or not a number.

Clipping hides such a number: an infinite norm scales every gradient to zero, the loss stays plausible, and nothing
is learned. So loss and norm are checked before every update, and no weights in a checkpoint were updated with such
a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tunesmith.errors import NonFiniteError

if TYPE_CHECKING:
    from torch import nn

_SHOWN_ROWS = 5


def require_finite(
    values: dict[str, float],
    *,
    step: int,
    rows: Iterable[int],
    location: Callable[[int], str],
    model: nn.Module,
    learning_rate: float | None,
) -> None:
    """Stops the run unless all values are finite.

    Args:
        values: values by name in the message.
        step: optimizer step, from 1; 0 is the probe.
        rows: rows of this step.
        location: function from a row to its file and line.
        model: model, which is searched for weights that are not finite.
        learning_rate: learning rate of this step; None for the probe.

    Raises:
        NonFiniteError: a value is not finite; the message names the step, the rows and what to try.
    """
    wrong = {name: value for name, value in values.items() if not math.isfinite(value)}
    if not wrong:
        return
    what = " and ".join(f"the {name} is {value}" for name, value in wrong.items())
    places = [location(int(row)) for row in rows]
    shown = "; ".join(places[:_SHOWN_ROWS])
    more = f" and {len(places) - _SHOWN_ROWS} more" if len(places) > _SHOWN_ROWS else ""
    raise NonFiniteError(
        f"{what}; nothing was updated with it. Rows of this step: {shown}{more}.",
        location=f"step {step}" if step else "probe, before step 1",
        remedy=_remedy(model, learning_rate),
    )


def _remedy(model: nn.Module, learning_rate: float | None) -> str:
    import torch

    poisoned = [name for name, p in model.named_parameters() if not bool(torch.isfinite(p).all())]
    if poisoned:
        return (
            f"The weights themselves are not finite ({len(poisoned)} tensors, `{poisoned[0]}` first): "
            "use another copy of the base model."
        )
    tries = ["check the rows above", "`train.bf16=false`"]
    if learning_rate:
        tries.insert(0, f"a smaller `train.learning_rate` (it was {learning_rate:.1e} here)")
    return "Try: " + ", ".join(tries) + "."
