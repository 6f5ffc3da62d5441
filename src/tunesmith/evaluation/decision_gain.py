"""What another choice of answers gains in one metric, and costs in another, on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.evaluation.baselines import RowStatistics
from tunesmith.evaluation.intervals import Method
from tunesmith.evaluation.paired import Paired, compare_pairs
from tunesmith.tasks import Decision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tunesmith.types import JsonObject


@dataclass(frozen=True)
class DecisionGain:
    """Rows that are answered with offsets, against the same rows without.

    Args:
        decision: metrics that are compared.
        gain: by how much the metric rises that offsets shall raise.
        cost: the same for the metric that they may lower; below 0 where they do.
        before: every metric without offsets.
        after: every metric with them.
    """

    decision: Decision
    gain: Paired
    cost: Paired
    before: dict[str, float]
    after: dict[str, float]

    @property
    def is_worth_it(self) -> bool:
        """Whether the gain is beyond chance, and greater than what it costs."""
        return self.gain.outcome == "better" and self.gain.gain.value + self.cost.gain.value >= 0

    def to_json(self) -> JsonObject:
        """Both metrics, each before and after, with the paired difference."""
        of = ((self.decision.metric, self.gain), (self.decision.cost, self.cost))
        return {
            name: {
                "before": self.before[name],
                "after": self.after[name],
                **found.to_json("offsets", "most_probable"),
            }
            for name, found in of
        }


def decision_gains(
    tried: Sequence[RowStatistics],
    plain: RowStatistics,
    decision: Decision,
    method: Method,
    *,
    groups: NDArray[np.int64] | None,
) -> list[DecisionGain]:
    """What each of some choices gains over the most probable label; corrected for the number of choices.

    Args:
        tried: rows as they are answered with offsets, once for each choice.
        plain: the same rows, answered with the most probable label.
        decision: metrics that are compared.
        method: confidence level, number of resamples and seed.
        groups: [rows], number of each row's group; None if every row is a group of its own.
    """
    pairs = [(rows, plain) for rows in tried]
    gains = compare_pairs(pairs, method, groups=groups, metric=decision.metric)
    costs = compare_pairs(pairs, method, groups=groups, metric=decision.cost)
    before = plain.scores()
    return [
        DecisionGain(decision, gain, cost, before, rows.scores())
        for rows, gain, cost in zip(tried, gains, costs, strict=True)
    ]
