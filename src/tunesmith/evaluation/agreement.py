"""How near the answers of two models are on the same rows: as answers, as scores, as a metric.

Two answers agree if everything in them except numbers is equal: the label, the labels, the entities, the passage,
the text. If the answers of all rows differ only in numbers (a score, a loss), two answers agree if the number
differs by at most a twentieth of its standard deviation over the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluation.intervals import Interval, Method
from tunesmith.evaluation.paired import gain
from tunesmith.evaluation.scoring import Scored
from tunesmith.recipe import EvaluateRecipe
from tunesmith.run import finite

if TYPE_CHECKING:
    from tunesmith.tasks import Prediction
    from tunesmith.types import JsonObject

_NEAR = 0.05
_LEFT_OUT = "top"
"""Key that is not compared: the next best answers."""


@dataclass(frozen=True)
class Agreement:
    """Two models on the same rows.

    Args:
        rows: number of compared rows.
        share: share of the rows on which the answers agree.
        largest_difference: largest difference between two numbers of an answer (probabilities, in most tasks).
        metric: primary metric of the task.
        first: value of the metric for the first model.
        second: value of the metric for the second model.
        drop: loss of the second model, with a paired interval, since the rows are the same.
    """

    rows: int
    share: float
    largest_difference: float
    metric: str
    first: Interval
    second: Interval
    drop: Interval

    def to_json(self, first: str, second: str) -> JsonObject:
        """The content for `export.json`, under the names of both models."""
        return {
            "rows": self.rows,
            "agreement": self.share,
            "largest_difference": finite(self.largest_difference),
            "metric": self.metric,
            first: _finite(self.first),
            second: _finite(self.second),
            "drop": _finite(self.drop),
        }


def compare(first: Scored, second: Scored, how: EvaluateRecipe, seed: int) -> Agreement:
    """How near the second model is to the first.

    Args:
        first: rows scored with the first model.
        second: the same rows, scored with the second model.
        how: number of resamples, and confidence level.
        seed: random seed for resampling.
    """
    share, largest = _answers(first, second)
    metric = first.task.primary_for(first.label_schema)
    method = Method(how.bootstrap_samples, how.confidence, seed)
    drop = gain(first, second, method, groups=first.groups)
    ours, theirs = (one.intervals(how, seed)[metric] for one in (first, second))
    return Agreement(len(first.examples), share, largest, metric, ours, theirs, drop)


def _answers(first: Scored, second: Scored) -> tuple[float, float]:
    """The share of rows that agree, and the largest difference of numbers."""
    pairs = [_parts(one.task.decode(one.evaluated, one.label_schema)) for one in (first, second)]
    same, differences = [], []
    for (words, numbers), (other_words, other_numbers) in zip(*pairs, strict=True):
        same.append(words == other_words)
        alike = numbers.shape == other_numbers.shape
        differences.append(np.abs(numbers - other_numbers).max(initial=0.0) if alike else 0.0)
    if len({words for words, _ in pairs[0]}) == 1 and len(same) > 1:
        spread = np.std([numbers for _, numbers in pairs[0]], axis=0)
        near = [
            bool(np.all(np.abs(a - b) <= _NEAR * spread))
            for (_, a), (_, b) in zip(*pairs, strict=True)
        ]  # fmt: skip
        same = [one and other for one, other in zip(same, near, strict=True)]
    return float(np.mean(same)), float(max(differences, default=0.0))


def _parts(predictions: list[Prediction]) -> list[tuple[str, NDArray[np.float64]]]:
    """For each answer: everything except fractions, as text, and the fractions."""
    found = []
    for prediction in predictions:
        kept = {key: value for key, value in prediction.items() if key != _LEFT_OUT}
        leaves = list(_leaves(kept))
        words = repr([leaf for leaf in leaves if not isinstance(leaf, float)])
        numbers = np.array([leaf for leaf in leaves if isinstance(leaf, float)], dtype=np.float64)
        found.append((words, numbers))
    return found


def _leaves(value: object) -> Iterator[object]:
    """Keys and values of an answer, one after the other."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _leaves(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, np.ndarray):
        yield from map(float, value)
    else:
        yield float(value) if isinstance(value, np.floating) else value


def _finite(interval: Interval) -> dict[str, float | None]:
    return {key: finite(value) for key, value in interval.to_json().items()}
