"""Stops a run whose loss or gradient is infinite or not a number.

Clipping hides such a number: an infinite norm scales every gradient to zero, the loss stays plausible, and nothing
is learned. So loss and norm are checked before every update, and no weights in a checkpoint were updated with such
a number.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from tunesmith.errors import NonFiniteError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tunesmith.types import JsonObject

_SHOWN_ROWS = 5
_RECENT_STEPS = 50
_FEWEST_STEPS = 20
_SPIKE = 8.0
"""Deviations above the median at which a loss is a spike; of losses that scatter normally, one in 10^14 is."""
_DEVIATIONS_PER_QUARTILE_RANGE = 1.349


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
    poisoned = _not_finite(dict(model.named_parameters()))
    raise NonFiniteError(
        f"{what}; nothing was updated with it. Rows of this step: {rows_in_words(rows, location)}.",
        location=f"step {step}" if step else "probe, before step 1",
        remedy=_remedy(poisoned, learning_rate),
        is_after_update=bool(poisoned),
    )


def require_finite_weights(weights: Mapping[str, torch.Tensor], *, step: int) -> None:
    """Raises NonFiniteError unless all weights are finite; called before they are scored or saved."""
    if poisoned := _not_finite(weights):
        raise NonFiniteError(
            f"{len(poisoned)} tensors of the model are not finite after this step, `{poisoned[0]}` first; they "
            "were not saved.",
            location=f"step {step}",
            remedy=_remedy([], 0.0),
            is_after_update=True,
        )


def require_finite_score(name: str, value: float, *, step: int) -> None:
    """Raises NonFiniteError for a validation score by which no step could be chosen."""
    if not math.isfinite(value):
        raise NonFiniteError(
            f"the validation {name} is {value}; this step was not saved.",
            location=f"step {step}",
            remedy=_remedy([], 0.0),
            is_after_update=True,
        )


def rows_in_words(rows: Iterable[int], location: Callable[[int], str]) -> str:
    """The files and lines of some rows, the first ones of many."""
    places = [location(int(row)) for row in rows]
    more = f" and {len(places) - _SHOWN_ROWS} more" if len(places) > _SHOWN_ROWS else ""
    return "; ".join(places[:_SHOWN_ROWS]) + more


class _Losses(Protocol):
    step: int
    spikes: list[JsonObject]
    recent_losses: list[float]


def note_spike(state: _Losses, loss: float) -> float | None:
    """The usual loss, where that of the last step is far above it; the step is then among the state's spikes.

    Far above is 8 deviations above the median of the last 50 steps, with the deviation from their quartiles, so
    that a spike before does not hide the next one.
    """
    recent, usual = state.recent_losses, None
    if len(recent) >= _FEWEST_STEPS:
        low, median, high = statistics.quantiles(recent, n=4)
        deviation = max((high - low) / _DEVIATIONS_PER_QUARTILE_RANGE, 0.01 * abs(median))
        if loss > median + _SPIKE * deviation:
            state.spikes.append({"step": state.step, "loss": loss})
            usual = median
    state.recent_losses = [*recent, loss][-_RECENT_STEPS:]
    return usual


def _not_finite(weights: Mapping[str, torch.Tensor]) -> list[str]:
    import torch

    return [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]


def _remedy(poisoned: list[str], learning_rate: float | None) -> str:
    if poisoned:
        return (
            f"The weights themselves are not finite ({len(poisoned)} tensors, `{poisoned[0]}` first): "
            "use another copy of the base model."
        )
    tries = ["check the rows above", "`train.bf16=false`"]
    if learning_rate is not None:
        here = f" (it was {learning_rate:.1e} here)" if learning_rate else ""
        tries = [f"a smaller `train.learning_rate`{here}", *tries, "`train.max_skipped_batches=1`"]
    return "Try: " + ", ".join(tries) + "."
