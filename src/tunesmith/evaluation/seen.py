"""Scored rows that were trained on, or nearly: they are left out of the scores; the scores with them stay beside.

A model knows such rows by heart. Scores of them say nothing about new texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.examples import Examples
from tunesmith.data.train_texts import TrainTexts
from tunesmith.encoded import Ragged
from tunesmith.evaluation.scoring import Scored
from tunesmith.metrics import METRICS
from tunesmith.recipe import EvaluateRecipe
from tunesmith.tasks import EvalPredictions

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

T = TypeVar("T")


def new_rows(examples: Examples, train_texts: TrainTexts | None) -> NDArray[np.int64]:
    """The numbers of the rows that were not trained on; of all rows, where every one was, or nobody knows.

    Args:
        examples: rows of a split.
        train_texts: texts of the training rows; None where they are not known.
    """
    every = np.arange(len(examples))
    return every if train_texts is None else _new(train_texts.seen(examples))


def _new(similarity: NDArray[np.float32]) -> NDArray[np.int64]:
    new = np.flatnonzero(similarity == 0)
    return new if len(new) else np.arange(len(similarity))


def rows_that_count(
    scored: Scored, train_texts: TrainTexts | None, how: EvaluateRecipe, seed: int
) -> tuple[NDArray[np.int64], JsonObject | None]:
    """The rows that were not trained on, and the entry `seen_in_training` of metrics.json.

    Where every row was trained on, all of them count.

    Args:
        scored: split with its predictions.
        train_texts: texts of the training rows; None where they are not known.
        how: number of resamples, and confidence level.
        seed: random seed for resampling.

    Returns:
        Numbers of the rows, and the entry: `rows` of `of` rows were trained on, of them `exact` with the same text
        and the others nearly; `with` has every metric on all rows, and is empty if there are none of either kind.
    """
    every = np.arange(len(scored.examples))
    if train_texts is None:
        return every, None
    similarity = train_texts.seen(scored.examples)
    rows, n_seen = _new(similarity), int(np.count_nonzero(similarity))
    with_seen = scored.intervals(how, seed) if len(rows) < len(every) else {}
    entry: JsonObject = {
        "rows": n_seen,
        "exact": int((similarity == 1).sum()),
        "of": len(every),
        "with": {name: interval.to_json() for name, interval in with_seen.items()},
    }
    return rows, entry


def take_rows(scored: Scored, rows: NDArray[np.int64]) -> Scored:
    """Some rows of a split with their predictions; the rows are in rising order."""
    if len(rows) == len(scored.examples):
        return scored
    examples, evaluated = scored.examples.take(rows), scored.evaluated
    sequences = np.flatnonzero(np.isin(evaluated.encoded.rows, rows))
    outputs = evaluated.outputs
    if isinstance(outputs, Ragged):
        outputs = outputs.take(sequences)
    elif outputs is not None:
        outputs = outputs[sequences]
    taken = EvalPredictions(
        examples.columns,
        evaluated.encoded.of_rows(rows),
        outputs,
        _of_rows(evaluated.texts, rows),
        evaluated.tokenizer,
        _of_rows(evaluated.ended, rows),
    )
    return replace(scored, examples=examples, evaluated=taken)


def _of_rows(values: Sequence[T] | None, rows: NDArray[np.int64]) -> list[T] | None:
    """What some rows have of values of the first rows, or of all."""
    return None if values is None else [values[row] for row in rows if row < len(values)]


def describe_seen(metrics: JsonObject) -> str:
    """A sentence for people, from metrics.json; empty if no scored row was trained on, or nobody knows."""
    seen, primary = metrics.get("seen_in_training"), metrics["primary"]
    if not seen or not seen["rows"]:
        return ""
    if "without" in seen:
        return _as_before(seen, primary)
    if not seen["with"]:
        return (
            f"all {seen['of']:,} {primary['split']} rows are also in training, or nearly: "
            "the scores say nothing about new texts"
        )
    metric, score = METRICS.get(primary["name"]), seen["with"][primary["name"]]
    low, high = metric.shown(score["low"]), metric.shown(score["high"])
    return (
        f"{seen['rows']:,} of {seen['of']:,} {primary['split']} rows are also in training, or nearly, and left "
        f"out of the scores; with them {metric.label} = {metric.shown(score['value'])} ({low} to {high})"
    )


def _as_before(seen: JsonObject, primary: JsonObject) -> str:
    """The sentence for a run of an earlier version, whose scores are those of all rows."""
    are = f"{seen['rows']:,} of {seen['of']:,} {primary['split']} rows are also in training"
    if not seen["without"]:
        return f"{are}: the scores say nothing about new texts"
    metric, score = METRICS.get(primary["name"]), seen["without"][primary["name"]]
    low, high = metric.shown(score["low"]), metric.shown(score["high"])
    return f"{are}; without them {metric.label} = {metric.shown(score['value'])} ({low} to {high})"
