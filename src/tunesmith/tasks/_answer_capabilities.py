"""What only some tasks have of their answers: how sure they are, and how they are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tunesmith.tasks._types import EvalPredictions, LabelSchema, Prediction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tunesmith.types import JsonObject

Piece = tuple[str, str, str]
"""A text, its style (`right`, `missed`, `wrong`, `label`, `name`, `soft` or none), and a note."""

Cell = list[Piece]
"""One cell of a table of answers."""


def _own_score(prediction: Prediction, label_schema: LabelSchema) -> float:
    return float(prediction["score"])


@dataclass(frozen=True)
class Confidence:
    """Each answer is right or wrong and has a confidence, so that a model can abstain from it.

    Args:
        answers: what the answers are, in the plural.
        of: the confidence of an answer: of a prediction, or of an entry of `key`.
        key: the entry of a prediction that lists its answers; empty where a prediction is one answer.
        is_right: whether an entry of `key` is right, from it and the true answer of its row; for predictions that
            are one answer, `Task.is_correct` says it.
    """

    answers: str = "answers"
    of: Callable[[Prediction, LabelSchema], float] = _own_score
    key: str = ""
    is_right: Callable[[JsonObject, Any], bool] | None = None


@dataclass(frozen=True)
class PredictionSets:
    """Labels, or a range of numbers, that hold the true one with a probability that the user chooses.

    Args:
        kind: `labels`, or `interval` of numbers.
        true: the targets of scored rows: numbers of labels, or numbers [rows].
        values: what the sets are made from: probabilities [rows, labels], or predicted numbers [rows, 1].
    """

    kind: str
    true: Callable[[EvalPredictions], NDArray[Any]]
    values: Callable[[EvalPredictions], NDArray[np.floating]]


@dataclass(frozen=True)
class Pipeline:
    """A pipeline of transformers loads the saved model.

    Args:
        tag: its name, which is the Hub's for models of this kind.
        arguments: what a call needs besides the text, so that a text of any length can be given; from the number
            of tokens that the model reads.
        note: how its answers differ from ours, from the contents of tokenizer.json; for the model card.
        code: what loads the model and calls it, where that is another library; for the model card.
    """

    tag: str
    arguments: Callable[[int], str] = field(default=lambda max_length: "truncation=True")
    note: Callable[[JsonObject], str] | None = None
    code: str = ""


@dataclass(frozen=True)
class Display:
    """How the report shows an answer.

    Args:
        titles: of the cells.
        cells: from a line of `predictions/SPLIT.jsonl` and the names of the inputs to show.
        ranks_unjudged: whether answers that are neither right nor wrong are listed by their error.
        is_shown: whether a line has something to show.
        legend: styles with a colour that the cells use, each with its meaning.
    """

    titles: tuple[str, ...]
    cells: Callable[[JsonObject, Sequence[str]], list[Cell]]
    ranks_unjudged: bool = True
    is_shown: Callable[[JsonObject], bool] = field(default=lambda line: True)
    legend: Mapping[str, str] = field(default_factory=dict)
