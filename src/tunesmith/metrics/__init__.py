"""Metrics as sums: per-example statistics that add up, and a formula on the sums.

Because the statistics add up, one matrix product resamples all of them: intervals, slices and paired
comparisons need no metric of their own. One file a family; each is tested against an independent
reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Statistics = Any
"""[examples, statistics], a dense array or a scipy.sparse CSR matrix."""

Scores = dict[str, "NDArray[np.float64]"]
"""Metric name to values, of the shape that the sums had before their last axis."""


def total(statistics: Statistics) -> NDArray[np.float64]:
    """The sums over all examples: [statistics]."""
    return np.asarray(statistics.sum(axis=0), dtype=np.float64).ravel()
