"""Whether training made the model worse at general text, by its likelihood before and after.

The same paragraphs are read by both models, so the interval is that of a ratio of paired sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.evaluation.analyses import Analysis, Answered
from tunesmith.evaluation.intervals import Interval, Method, intervals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.metrics import Scores
    from tunesmith.types import JsonObject

TOLERATED = 0.02
"""A larger increase is said to be forgetting."""


def _find(answered: Answered) -> JsonObject | None:
    """The entry of metrics.json; None where nothing was measured before the training.

    `base_model` and `model` have bits per byte; `increase` is how many more bits the model needs, as a share of
    those before; `outcome` is `worse` for an increase above 2 % whose whole interval is above 0, `better` for a
    decrease alike, else `kept`.
    """
    measured = answered.general_text()
    if measured is None:
        return None
    before, after = measured
    statistics = np.column_stack([before, after[:, 0]])
    how = answered.how
    found = intervals(statistics, _formula, {}, Method(how.bootstrap_samples, how.confidence, answered.seed))
    increase = found["increase"]
    return {
        "text_of": answered.how.general_text or "the package's English text",
        "paragraphs": len(before),
        "bytes": int(before[:, 1].sum()),
        "base_model": found["base_model"].to_json(),
        "model": found["model"].to_json(),
        "increase": increase.to_json(),
        "outcome": _outcome(increase),
        "text": _sentence(found),
    }


def _formula(sums: NDArray[np.float64]) -> Scores:
    """From sums of nats before, bytes, nats after."""
    before, n_bytes, after = np.moveaxis(sums, -1, 0)
    bits = np.maximum(n_bytes, 1.0) * np.log(2)
    return {
        "base_model": before / bits,
        "model": after / bits,
        "increase": after / np.maximum(before, 1e-12) - 1.0,
    }


def _outcome(increase: Interval) -> str:
    if increase.value > TOLERATED and increase.low > 0:
        return "worse"
    return "better" if increase.high < 0 else "kept"


def _sentence(found: dict[str, Interval]) -> str:
    increase = found["increase"]
    change = f"{100 * increase.value:+.1f} % ({100 * increase.low:+.1f} to {100 * increase.high:+.1f})"
    bits = f"{found['base_model'].value:.3f} to {found['model'].value:.3f} bits per byte"
    if _outcome(increase) == "worse":
        return (
            f"the model has forgotten some of what it knew: general text went from {bits}, {change}; an adapter, "
            "fewer epochs or a lower learning rate keep more"
        )
    return f"general text went from {bits}, {change}"


analysis = Analysis("whether the model became worse at general text", _find)
