"""From answers to observed rows: of the held-out rows of a run, of a file, and of a prediction log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.encoded import Ragged
from tunesmith.monitoring.observed import Observed
from tunesmith.monitoring.texts import TextFacts, Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.tasks import LabelSchema, Prediction, Task
    from tunesmith.types import JsonObject

NO_ANSWER, AN_ANSWER = "no answer", "an answer"
"""The labels of question answering."""


def labels_of(prediction: Mapping[str, Any]) -> list[str] | None:
    """The labels that an answer has; None where answers are no labels.

    Args:
        prediction: an answer, as a client gets it, or as the log keeps it.
    """
    if isinstance(label := prediction.get("label"), str):
        return [label]
    if isinstance(labels := prediction.get("labels"), list | tuple):
        return [str(label) for label in labels]
    if isinstance(entities := prediction.get("entities"), list):
        return [str(entity["entity_group"]) for entity in entities]
    if isinstance(answer := prediction.get("answer"), str):
        return [AN_ANSWER if answer else NO_ANSWER]
    return None


def is_number(task: Task, label_schema: LabelSchema) -> bool:
    """Whether the answers of a task are numbers, which stand in `score`.

    Args:
        task: of the run.
        label_schema: of the run.
    """
    return task.confidence is None and not label_schema.get("labels")


def score_of(task: Task, prediction: Prediction, label_schema: LabelSchema) -> float:
    """The confidence of an answer, of several answers their mean; NaN without one.

    Args:
        task: of the run.
        prediction: an answer with its score.
        label_schema: of the run.
    """
    how = task.confidence
    if how is None:
        return float("nan")
    if not how.key:
        return float(how.of(prediction, label_schema))
    scores = [how.of(one, label_schema) for one in prediction[how.key]]
    return float(np.mean(scores)) if scores else float("nan")


def observe_answers(
    task: Task, label_schema: LabelSchema, predictions: Sequence[Prediction], labels: Sequence[str]
) -> tuple[dict[str, NDArray[np.float64]], Ragged | None]:
    """What answers say: their numbers by name, and their labels as codes.

    Args:
        task: of the run.
        label_schema: of the run.
        predictions: answers of some rows.
        labels: names of the labels, by their codes.
    """
    numbers = {
        "score": as_numbers(_or_nan(score_of, task, it, label_schema) for it in predictions),
        "abstained": as_numbers(_flag(it.get("abstained")) for it in predictions),
        "out_of_scope": as_numbers(_is_out(it) for it in predictions),
    }
    if is_number(task, label_schema):
        numbers["number"] = as_numbers(_number(it.get("score")) for it in predictions)
        return _without_unknown(numbers), None
    found = [labels_of(it) for it in predictions]
    known = [one for one in found if one is not None]
    codes = {label: code for code, label in enumerate(labels)}
    answers = (
        Ragged.of([[codes.get(label, len(labels)) for label in one] for one in known])
        if len(known) == len(found) and found
        else None
    )
    return _without_unknown(numbers), answers


def with_texts(rows: Observed, texts: Sequence[str], vocabulary: Vocabulary) -> Observed:
    """Rows with what their texts are like.

    Args:
        rows: rows without texts.
        texts: their texts, with personal data replaced.
        vocabulary: of the training texts.
    """
    facts = TextFacts.of(texts, vocabulary)
    numbers = {**rows.numbers, "unknown_words": facts.unknown_words}
    return replace(rows, numbers=numbers, words=facts.words, languages=facts.languages, texts=list(texts))


def observe_log(
    entries: Sequence[JsonObject], task: Task, label_schema: LabelSchema, labels: Sequence[str]
) -> Observed:
    """What the entries of a prediction log say, without their texts.

    Args:
        entries: rows of `read_log`.
        task: of the run.
        label_schema: of the run.
        labels: names of the labels, by their codes.
    """
    answers = [entry["answer"] if isinstance(entry["answer"], dict) else {} for entry in entries]
    numbers, codes = observe_answers(task, label_schema, answers, labels)
    logged = {
        "abstained": as_numbers(_flag(entry["abstained"]) for entry in entries),
        "out_of_scope": as_numbers(_flag(entry["out_of_scope"]) for entry in entries),
        "tokens": as_numbers(_number(entry["tokens"]) for entry in entries),
        "written": as_numbers(_number(answer.get("completion_tokens")) for answer in answers),
        "at": as_numbers(_number(entry["at"]) for entry in entries),
    }
    judged = [_judged(task, entry, answer) for entry, answer in zip(entries, answers, strict=True)]
    logged["correct"] = as_numbers(judged)
    return Observed(
        len(entries),
        {**numbers, **_without_unknown(logged)},
        answers=codes,
        names=[str(entry["id"]) for entry in entries],
    )


def _judged(task: Task, entry: JsonObject, answer: JsonObject) -> float:
    """Whether an answer is right, by its feedback; NaN without any, or where feedback cannot be compared."""
    if "feedback" not in entry:
        return float("nan")
    return judge(task, answer, entry["feedback"]["label"])


def judge(task: Task, prediction: Mapping[str, Any], gold: Any) -> float:
    """Whether an answer is right, as a number; NaN where that cannot be said.

    Args:
        task: of the run.
        prediction: an answer.
        gold: what is right; people may have written anything.
    """
    try:
        found = task.is_correct(dict(prediction), gold)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return float("nan")
    return _flag(found)


def as_numbers(values: Iterable[float]) -> NDArray[np.float64]:
    """[rows], numbers of rows."""
    return np.array(list(values), dtype=np.float64)


def _without_unknown(numbers: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    return {name: values for name, values in numbers.items() if not np.isnan(values).all()}


def _or_nan(of: Any, *arguments: Any) -> float:
    """The score of an answer; NaN where the log has kept none of it."""
    try:
        return float(of(*arguments))
    except (KeyError, TypeError):
        return float("nan")


def _flag(value: Any) -> float:
    return float("nan") if value is None else float(bool(value))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def _is_out(prediction: Mapping[str, Any]) -> float:
    found = prediction.get("out_of_scope")
    return float(bool(found["is_out"])) if isinstance(found, dict) else float("nan")
