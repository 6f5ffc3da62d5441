"""Metrics as sums: per-example statistics that add up, and a formula on the sums.

Because the statistics add up, one matrix product resamples all of them: intervals, slices and paired
comparisons need no metric of their own. One file a family; each is tested against an independent
reference.

A metric that is a share (right answers of all answers, the mean of several such) is declared as one, a `Share`:
its interval can then be that of a proportion, which holds for a few rows and for perfect scores, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Share:
    """A metric from 0 to 1 that is a share, or a mean of shares: what is right, of all that was to decide.

    A share has parts, one for each class in a macro average, and one in most metrics. A part's value is the sum
    of its right decisions by the sum of its decisions; the metric is the mean of the parts that have any.

    Args:
        of: [s, parts], sparse: statistics @ of are the decisions of each example in each part.
        right: [s, parts], sparse: statistics @ right are the right ones. None where the formula is no such share
            (BLEU): then an example is one decision, as heavy as `of` says.
        by: [s, parts], sparse: sums @ by are the weights of the parts in the mean; None is equal weights.
        counts_all: whether a part without any decision counts as 0 in the mean.
    """

    of: Any
    right: Any = None
    by: Any = None
    counts_all: bool = False


Shares = dict[str, Share]
"""The metrics that are shares, by name."""


def selected(width: int, *parts: Sequence[int] | NDArray[np.int64], weight: float = 1.0) -> Any:
    """Sparse [width, parts] that adds up some columns of the statistics for each part.

    Args:
        width: s, the number of columns.
        parts: the columns of each part.
        weight: of every column.
    """
    from scipy import sparse

    rows = np.array([column for part in parts for column in part], dtype=np.int64)
    columns = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return sparse.csr_matrix((np.full(len(rows), weight), (rows, columns)), shape=(width, len(parts)))
