"""Several models on the rows that all of them have answered: scores, paired tests, and rows where they disagree.

The models are ranked by the primary metric, and each is tested against each. Which of them is the best is found on
the same rows, so the tests against it must count as many comparisons as there are pairs: Holm's correction is over
all pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import RunError
from tunesmith.evaluation.answered_rows import AnsweredRows
from tunesmith.evaluation.intervals import Interval, Method
from tunesmith.evaluation.paired import Paired, compare_pairs, right_answers
from tunesmith.metrics import METRICS


@dataclass(frozen=True)
class Contest:
    """Models on the same rows.

    Args:
        metric: primary metric.
        ranking: names of the models, the best first.
        scores: every metric with its interval, by model.
        pairs: each two models, the better one first.
    """

    metric: str
    ranking: tuple[str, ...]
    scores: Mapping[str, Mapping[str, Interval]]
    pairs: Mapping[tuple[str, str], Paired]


def compare_models(models: Mapping[str, AnsweredRows], method: Method) -> Contest:
    """Scores and paired tests of models on the same rows.

    Args:
        models: the same rows in the same order, as each model answers them, by its name.
        method: confidence level, number of resamples and seed.

    Raises:
        RunError: the models have another primary metric, or labels that the metric cannot compare.
    """
    metric = _metric_of(models)
    groups = next((rows.groups for rows in models.values() if rows.groups is not None), None)
    models = {name: replace(rows, groups=groups) for name, rows in models.items()}
    scores = {name: rows.intervals(method) for name, rows in models.items()}
    sign = -1 if METRICS.get(metric).greater_is_better else 1
    ranking = sorted(models, key=lambda name: sign * scores[name][metric].value)
    pairs = list(combinations(ranking, 2))
    found = compare_pairs([(models[one], models[other]) for one, other in pairs], method, groups=groups)
    return Contest(metric, tuple(ranking), scores, dict(zip(pairs, found, strict=True)))


def _metric_of(models: Mapping[str, AnsweredRows]) -> str:
    """The primary metric of all models."""
    metrics = {name: rows.task.primary_for(rows.label_schema) for name, rows in models.items()}
    if len(set(metrics.values())) > 1:
        said = ", ".join(f"`{name}` has {METRICS.get(metric).label}" for name, metric in metrics.items())
        raise RunError(
            f"runs can be compared only in one primary metric, and {said}.",
            remedy="Compare runs whose data have the same columns.",
        )
    labels = {name: rows.label_schema.get("labels") for name, rows in models.items()}
    differ = any(one != other for one, other in combinations(labels.values(), 2))
    if differ and any(right_answers(rows) is None for rows in models.values()):
        raise RunError(
            f"{METRICS.get(next(iter(metrics.values()))).label} can be compared only between runs with the same "
            f"labels, and those of {', '.join(f'`{name}`' for name in models)} differ.",
            remedy="Train them on data with the same labels.",
        )
    return next(iter(metrics.values()))


def common_rows(models: Sequence[AnsweredRows]) -> list[NDArray[np.int64]]:
    """For each model, the numbers of the rows that all of them answered, in the order of the first model.

    Rows with the same inputs and the same true answer are one row; if a model has several of them, so many are
    common as the model with the fewest has.
    """
    numbers = [{key: number for number, key in enumerate(_numbered(rows.keys))} for rows in models]
    common = [key for key in numbers[0] if all(key in found for found in numbers[1:])]
    return [np.array([found[key] for key in common], dtype=np.int64) for found in numbers]


def _numbered(keys: NDArray[np.uint64]) -> list[tuple[int, int]]:
    """Each key with the number of times that it occurred before."""
    seen: dict[int, int] = {}
    found = []
    for key in keys.tolist():
        found.append((key, seen.setdefault(key, 0)))
        seen[key] += 1
    return found


def primary_by_row(rows: AnsweredRows) -> NDArray[np.float64]:
    """[rows], the primary metric of each row alone; 0 where one row has none."""
    from scipy import sparse

    dense = rows.statistics.toarray() if sparse.issparse(rows.statistics) else np.asarray(rows.statistics)
    with np.errstate(all="ignore"):
        found = rows.task.formula(dense.astype(np.float64), rows.label_schema)
    return np.nan_to_num(found[rows.task.primary_for(rows.label_schema)], posinf=0.0, neginf=0.0)
