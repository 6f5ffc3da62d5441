"""Where a rate changed: ADWIN (Bifet and Gavaldà 2007), as the library river has it."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DELTA = 0.002
"""Bound of the probability of a change that is none, at one row; river's own."""


def is_installed() -> bool:
    """Whether river is there."""
    return importlib.util.find_spec("river") is not None


def changes(values: NDArray[np.float64]) -> list[int]:
    """The numbers of the values at which a change was noticed, from 0; none without river.

    Args:
        values: [n], in the order of time.
    """
    if not is_installed():
        return []
    from river.drift import ADWIN

    detector: Any = ADWIN(delta=DELTA)  # type: ignore[no-untyped-call]
    found: list[int] = []
    for number, value in enumerate(values):
        detector.update(float(value))
        if detector.drift_detected:
            found.append(number)
    return found
