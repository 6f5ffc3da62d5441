"""Two models, or a model and a baseline, on the same rows: how much better one is, and whether chance explains it.

A difference has a paired interval (`evaluation/intervals.py`) and a paired test (`evaluation/significance.py`). A
model is said to be better only if the interval lies above zero and the p-value, corrected for all comparisons that
are made together, is small enough. So the figures that are shown never contradict the words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluation.clusters import add_up
from tunesmith.evaluation.intervals import Interval, Method, paired_drop
from tunesmith.evaluation.significance import Significance, TestName, holm, mcnemar, permutation
from tunesmith.metrics import METRICS, Metric, Statistics
from tunesmith.run import finite
from tunesmith.tasks import LabelSchema, Task

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

FEWEST_ROWS = 30
"""Rows, or groups of rows, below which nothing is judged."""

Outcome = Literal["better", "not_shown", "worse", "too_few_rows"]

_BOUNDS = ("difference", "low", "high")
_WORDS: Mapping[Outcome, str] = {
    "better": "{first} is better than {second}",
    "not_shown": "no difference between {first} and {second} is shown",
    "worse": "{first} is worse than {second}",
    "too_few_rows": "there are too few rows to compare {first} with {second}",
}


class Rows(Protocol):
    """Rows with the statistics of a model's answers: `Scored`, `RowStatistics`, `AnsweredRows`."""

    @property
    def task(self) -> Task:
        """Task whose metrics are computed."""
        ...

    @property
    def statistics(self) -> Statistics:
        """[rows, s], statistics of the rows."""
        ...

    @property
    def label_schema(self) -> LabelSchema:
        """The task's label schema, with the thresholds of the model."""
        ...


class GroupedRows(Rows, Protocol):
    """Rows, some of which may belong together: `Scored`, `AnsweredRows`."""

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """[rows], number of each row's group; None if every row is a group of its own."""
        ...


@dataclass(frozen=True)
class Paired:
    """The first of two models against the second, in the primary metric.

    Args:
        gain: how much better the first is; below 0 if it is worse, whatever the direction of the metric.
        test: which test it was.
        p: p-value.
        p_holm: p-value, corrected for all comparisons that were made together.
        outcome: what can be said of the first model.
        only_first: number of rows that only the first has right; None if answers are neither right nor wrong.
        only_second: number of rows that only the second has right.
    """

    gain: Interval
    test: TestName
    p: float
    p_holm: float
    outcome: Outcome
    only_first: int | None = None
    only_second: int | None = None

    @property
    def bounds(self) -> tuple[float, float, float]:
        """The difference, and the bounds of its interval."""
        return self.gain.value, self.gain.low, self.gain.high

    def to_json(self, first: str = "this", second: str = "other") -> JsonObject:
        """The content for `metrics.json`, with the names of both models in the counts."""
        counts = {f"only_{first}_right": self.only_first, f"only_{second}_right": self.only_second}
        return {
            **{name: finite(bound) for name, bound in zip(_BOUNDS, self.bounds, strict=True)},
            "test": self.test,
            "p": self.p,
            "p_holm": self.p_holm,
            "outcome": self.outcome,
            **({} if self.only_first is None else counts),
        }


def compare_pairs(
    pairs: Sequence[tuple[Rows, Rows]],
    method: Method,
    *,
    groups: NDArray[np.int64] | None,
    metric: str | None = None,
) -> list[Paired]:
    """Compares the models of each pair, and corrects for the number of pairs.

    Args:
        pairs: two models each, on the same rows.
        method: confidence level, number of resamples and seed.
        groups: [rows], number of each row's group; None if every row is a group of its own.
        metric: metric in which they are compared; the primary one by default.
    """
    gains = [gain(*pair, method, groups=groups, metric=metric) for pair in pairs]
    tests = [paired_test(*pair, groups=groups, seed=method.seed, metric=metric) for pair in pairs]
    corrected = holm([found.p for found in tests])
    level = 1 - method.confidence + 1e-12
    found = []
    for (first, second), interval, test, p_holm in zip(pairs, gains, tests, corrected, strict=True):
        n = first.statistics.shape[0] if groups is None else len(np.unique(groups))
        outcome = _outcome(interval, p_holm, level, n)
        counts = discordant(first, second, metric) or (None, None)
        found.append(Paired(interval, test.test, test.p, p_holm, outcome, *counts))
    return found


def _outcome(gained: Interval, p_holm: float, level: float, n: int) -> Outcome:
    if n < FEWEST_ROWS:
        return "too_few_rows"
    if p_holm > level or gained.low <= 0 <= gained.high:
        return "not_shown"
    return "better" if gained.low > 0 else "worse"


def independent_rows(rows: GroupedRows) -> tuple[int, str]:
    """How many rows, or groups of rows, are independent, and what they are."""
    if rows.groups is None:
        return int(rows.statistics.shape[0]), "rows"
    return len(np.unique(rows.groups)), "groups of rows"


def in_words(found: Paired, metric: Metric, first: str, second: str, confidence: float) -> str:
    """The comparison for people: `a is better than b: +4.2 points (95 % interval 3.1 to 5.3), p < 0.001`.

    Args:
        found: comparison of two models.
        metric: primary metric.
        first: name of the first model within a sentence.
        second: name of the second model.
        confidence: confidence level of the interval.
    """
    outcome = _WORDS[found.outcome].format(first=first, second=second)
    value, low, high = found.bounds
    unit, scale, digits = ("points", 100, 1) if metric.is_share else (metric.label, 1, 3)
    if not metric.greater_is_better:
        value, low, high = -value, -high, -low
    said = [f"{scale * bound:.{digits}f}" for bound in sorted((low, high))]
    interval = f"{100 * confidence:.3g} % interval {said[0]} to {said[1]}"
    return f"{outcome}: {scale * value:+.{digits}f} {unit} ({interval}), {p_in_words(found)}"


def p_in_words(found: Paired) -> str:
    """The corrected p-value: `p = 0.034`, `p < 0.001`."""
    return "p < 0.001" if found.p_holm < 0.001 else f"p = {found.p_holm:.3f}"


def gain(
    first: Rows,
    second: Rows,
    method: Method,
    *,
    groups: NDArray[np.int64] | None,
    metric: str | None = None,
) -> Interval:
    """How much better the first is than the second in a metric; below 0 if it is worse.

    Args:
        first: rows as one model answers them.
        second: the same rows, as another model answers them.
        method: confidence level, number of resamples and seed.
        groups: [rows], number of each row's group; None if every row is a group of its own.
        metric: metric in which they are compared; the primary one by default.
    """
    task, metric = first.task, metric or first.task.primary_for(first.label_schema)
    found = paired_drop(
        _beside(first, second),
        (
            lambda sums: task.formula(sums, first.label_schema),
            lambda sums: task.formula(sums, second.label_schema),
        ),
        (task.shares(first.label_schema), task.shares(second.label_schema)),
        metric,
        method,
        width=first.statistics.shape[1],
        groups=groups,
    )
    if METRICS.get(metric).greater_is_better:
        return found
    return Interval(-found.value, -found.high, -found.low)


def paired_test(
    first: Rows, second: Rows, *, groups: NDArray[np.int64] | None, seed: int, metric: str | None = None
) -> Significance:
    """Whether two models differ in a metric by more than chance.

    Args:
        first: rows as one model answers them.
        second: the same rows, as another model answers them.
        groups: [rows], number of each row's group; None if every row is a group of its own.
        seed: random seed for the permutations.
        metric: metric in which they are compared; the primary one by default.
    """
    metric = metric or first.task.primary_for(first.label_schema)
    one, other = right_answers(first, metric), right_answers(second, metric)
    if one is None or other is None:
        return permutation(
            _of_groups(first.statistics, groups),
            _of_groups(second.statistics, groups),
            lambda sums: np.asarray(first.task.formula(sums, first.label_schema)[metric]),
            seed,
        )
    if groups is None:
        return mcnemar(int(np.sum(one & ~other)), int(np.sum(other & ~one)))
    one, other = one[:, None].astype(np.float64), other[:, None].astype(np.float64)
    return permutation(
        _of_groups(one, groups), _of_groups(other, groups), lambda sums: sums[..., 0] / len(one), seed
    )


def _of_groups(statistics: Statistics, groups: NDArray[np.int64] | None) -> Statistics:
    """[groups, s], the sums over the rows of each group; those of the rows without groups."""
    return statistics if groups is None else add_up(statistics, np.unique(groups, return_inverse=True)[1])


def discordant(first: Rows, second: Rows, metric: str | None = None) -> tuple[int, int] | None:
    """How many rows only the first has right, and only the second; None if rows are not right or wrong."""
    one, other = right_answers(first, metric), right_answers(second, metric)
    if one is None or other is None:
        return None
    return int(np.sum(one & ~other)), int(np.sum(other & ~one))


def right_answers(rows: Rows, metric: str | None = None) -> NDArray[np.bool_] | None:
    """[rows], whether each answer is right, if the (primary) metric is the share of right answers; else None."""
    share = rows.task.shares(rows.label_schema).get(metric or rows.task.primary_for(rows.label_schema))
    if share is None or share.right is None or share.of.shape[1] != 1:
        return None
    decisions, right = (_column(rows.statistics @ one) for one in (share.of, share.right))
    is_one_each = np.all(decisions == 1) and np.all((right == 0) | (right == 1))
    return right == 1 if is_one_each else None


def _column(values: Statistics) -> NDArray[np.float64]:
    """A dense or sparse column [rows, 1] as an array [rows]."""
    return np.asarray(values.sum(axis=1), dtype=np.float64).ravel()


def _beside(first: Rows, second: Rows) -> Statistics:
    """[rows, s + t], the statistics of two models side by side, sparse if they are."""
    from scipy import sparse

    both = [first.statistics, second.statistics]
    return (
        sparse.csr_matrix(sparse.hstack(both)) if sparse.issparse(both[0]) else np.concatenate(both, axis=1)
    )
