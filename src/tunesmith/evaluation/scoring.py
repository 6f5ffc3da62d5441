"""Scores of one split: every metric with its interval, slices, groups, and one line per prediction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.examples import Examples
from tunesmith.data.grouping import row_groups
from tunesmith.evaluation.intervals import Interval, Method, intervals
from tunesmith.inference.trust import Abstention, withheld
from tunesmith.metrics import Statistics
from tunesmith.recipe import EvaluateRecipe
from tunesmith.tasks import EvalPredictions, LabelSchema, Prediction, Task, best_answer

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_MOST_VALUES = 50


@dataclass(frozen=True)
class Scored:
    """One split with its predictions.

    Args:
        task: task of the model.
        label_schema: the task's label schema.
        examples: rows of the split.
        evaluated: predictions of the model for the rows.
        group_by: the recipe's `data.group_by`; rows with the same value are not independent.
    """

    task: Task
    label_schema: LabelSchema
    examples: Examples
    evaluated: EvalPredictions
    group_by: str | None = None

    @cached_property
    def groups(self) -> NDArray[np.int64] | None:
        """[rows], group of each row; None if every row is a group of its own."""
        return row_groups(self.task, self.examples, self.group_by)

    @cached_property
    def statistics(self) -> Statistics:
        """[rows, s], statistics from which the metrics are computed."""
        return self.task.statistics(self.evaluated, self.label_schema)

    @cached_property
    def predictions(self) -> list[Prediction]:
        """[rows], the answers."""
        return self.task.decode(self.evaluated, self.label_schema)

    @cached_property
    def gold(self) -> list[Any]:
        """[rows], the true answers, in the spelling of the data."""
        return self.task.gold(self.examples.columns, self.label_schema)

    @cached_property
    def correct(self) -> list[bool | None]:
        """[rows], whether each answer is right; None where that is no question."""
        # Where only some texts were generated, there are fewer answers than rows.
        pairs = zip(self.predictions, self.gold, strict=False)
        return [self.task.is_correct(prediction, gold) for prediction, gold in pairs]

    def intervals(
        self, how: EvaluateRecipe, seed: int, rows: NDArray[np.int64] | None = None
    ) -> dict[str, Interval]:
        """Every metric with its interval, over all rows or some of them."""
        some = slice(None) if rows is None else rows
        return intervals(
            self.statistics[some],
            lambda sums: self.task.formula(sums, self.label_schema),
            self.task.shares(self.label_schema),
            Method(how.bootstrap_samples, how.confidence, seed),
            groups=None if self.groups is None else self.groups[some],
        )

    def lines(self, abstention: Abstention | None = None) -> Iterator[JsonObject]:
        """One line per row, for `predictions/test.jsonl`; with a promise, `abstained` as in a prediction."""
        for row, prediction in enumerate(self.predictions):
            inputs = {n: self.examples.columns[n][row] for n in self.task.shown if n in self.examples.columns}
            answer = best_answer(self.task, prediction)
            line = {
                "row": self.examples.row_id(row),
                **inputs,
                "gold": self.gold[row],
                "prediction": answer,
                "correct": self.correct[row],
            }
            if abstention is not None:
                line["abstained"] = withheld(self.task, prediction, self.label_schema, abstention)
            yield line


def score_slices(scored: Scored, how: EvaluateRecipe, seed: int) -> JsonObject:
    """The primary metric for each value of the columns in `slices` and `groups`.

    For `groups`, also the gap: the best group's metric minus the worst's.
    """
    found: JsonObject = {}
    for column in dict.fromkeys([*how.slices, *how.groups]):
        values = [str(value) for value in scored.examples.extra[column]]
        names, counts = np.unique(values, return_counts=True)
        largest = names[np.argsort(-counts, kind="stable")][:_MOST_VALUES]
        scores = {
            name: _score_slice(scored, how, seed, np.array(values) == name) for name in largest.tolist()
        }
        found[column] = {"values": scores, "values_not_shown": max(0, len(names) - _MOST_VALUES)}
        if column in how.groups:
            of_groups = [s["value"] for s in scores.values()]
            found[column]["gap"] = max(of_groups) - min(of_groups)
    return found


def _score_slice(scored: Scored, how: EvaluateRecipe, seed: int, rows: NDArray[np.bool_]) -> JsonObject:
    primary = scored.task.primary_for(scored.label_schema)
    interval = scored.intervals(how, seed, np.flatnonzero(rows))[primary]
    return {**interval.to_json(), "n": int(rows.sum())}
