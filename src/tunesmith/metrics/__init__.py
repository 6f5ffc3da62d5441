"""Metrics as sums: per-example statistics that add up, and a formula on the sums.

Because the statistics add up, one matrix product resamples all of them: intervals, slices and paired
comparisons need no metric of their own. One file a family; each is tested against an independent
reference.

A metric that is a share (right answers of all answers, the mean of several such) is declared as one, a `Share`:
its interval can then be that of a proportion, which holds for a few rows and for perfect scores, too.

Each file declares its metrics in `metrics`, so that direction, unit and label of a metric are said once. Families
may share a name (`f1_macro`); they then declare the same.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tunesmith.registry import Registry

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

Statistics = Any
"""[examples, statistics], a dense array or a scipy.sparse CSR matrix."""

Scores = dict[str, "NDArray[np.float64]"]
"""Metric name to values, of the shape that the sums had before their last axis."""


SHARE = "share"
"""The unit of what goes from 0 to 1 and is read as a percentage."""


@dataclass(frozen=True)
class Metric:
    """What people and the code need to know of a metric, wherever its values come from.

    Args:
        name: Its key in metrics.json.
        direction: Whether greater or smaller values are better.
        unit: What a value counts: `share` is read as a percentage.
        label: Its name for people.
        meaning: What it measures, in one line for people.
        hub_name: Its name on the Hub, for the model card; its own if empty.
        compares_rows: Whether it compares rows with each other, so that its value on some of the rows is lower
            where these rows are alike, however good the answers are.
    """

    name: str
    direction: Literal["maximize", "minimize"]
    unit: str
    label: str
    meaning: str = ""
    hub_name: str = ""
    compares_rows: bool = False

    @property
    def greater_is_better(self) -> bool:
        """Whether greater values are better."""
        return self.direction == "maximize"

    @property
    def is_share(self) -> bool:
        """Whether its values go from 0 to 1 and are read as percentages."""
        return self.unit == SHARE

    def shown(self, value: float | None) -> str:
        """A value as people read it: shares as percentages, anything else with three digits."""
        return percent(value) if self.is_share else NOTHING if value is None else f"{value:.3f}"


NOTHING = "–"
"""What people read where there is no number: JSON has null for what the rows do not determine."""


def percent(value: float | None) -> str:
    """A share as people read it: `93.4 %`."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


class _MetricRegistry(Registry[Metric]):
    """Its files declare several metrics each, under the metrics' own names; they import nothing heavy."""

    def built_in(self) -> Collection[str]:
        return sorted(self._declared)

    def _built_in_entry(self, name: str) -> Metric:
        return self._declared[name]

    @cached_property
    def _declared(self) -> dict[str, Metric]:
        found: dict[str, Metric] = {}
        for family in (name for name in self._files() if name[0] != "_"):
            for metric in importlib.import_module(f"{self._package}.{family}").metrics:
                if found.setdefault(metric.name, metric) != metric:
                    raise ValueError(f"metrics/{family}.py: `{metric.name}` is declared otherwise elsewhere.")
        return found


METRICS: Registry[Metric] = _MetricRegistry("tunesmith.metrics", "metric", Metric)


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

    of: csr_matrix
    right: Any = None
    by: Any = None
    counts_all: bool = False


Shares = dict[str, Share]
"""The metrics that are shares, by name."""


def selected(width: int, *parts: Sequence[int] | NDArray[np.int64], weight: float = 1.0) -> csr_matrix:
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
