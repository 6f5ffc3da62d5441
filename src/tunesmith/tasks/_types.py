"""What goes into a task and comes out of it: columns, options, predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tunesmith.encoded import Encoded
from tunesmith.types import JsonObject

if TYPE_CHECKING:
    import torch

Values = Mapping[str, Any]
"""One row, or a batch of rows, by the task's column names."""

LabelSchema = Mapping[str, Any]
"""What a task learned from the training rows (label names, say); JSON, saved with the run."""

Prediction = JsonObject
"""One answer, in the shape of the Hub's inference type for the task."""

Batch = Mapping[str, "torch.Tensor"]
"""Padded tensors by the names that the model knows them by, and `labels`."""

IGNORED = -100
"""A label that is none: the loss passes over it (the convention of torch's cross_entropy)."""


class RowError(ValueError):
    """A row cannot be used; the message says why, as the end of `line 3: …`.

    Args:
        message: why.
        hint: what helps with all rows of the kind, said once however many they are.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


@dataclass(frozen=True)
class Column:
    """One column of a task.

    Args:
        name: the task's name for it.
        kind: what its values are; used when no column has a usual name.
        aliases: usual names, the most usual first.
        required: whether the task can do without.
        target: whether it is what shall be predicted.
        together: rows with one value of it never cross splits.
    """

    name: str
    kind: Literal["text", "category", "number", "list"]
    aliases: tuple[str, ...] = ()
    required: bool = True
    target: bool = False
    together: bool = False


@dataclass(frozen=True)
class Recognised:
    """A format that rows come in, recognised by its columns.

    Args:
        name: what people call it: `Alpaca`.
        columns: the file's columns that it is read from.
        convert: from a row of the file to values by the task's columns.
        named: `data.columns` that would read the same; empty where none would.
        read_inputs: the same without what is to be predicted, where a row may lack it.
    """

    name: str
    columns: tuple[str, ...]
    convert: Callable[[Values], JsonObject]
    named: Values = field(default_factory=dict)
    read_inputs: Callable[[Values], JsonObject] | None = None


@dataclass(frozen=True)
class Realigned:
    """An answer that stands elsewhere in its text than its row says, or is written otherwise there.

    Args:
        text: as the row gives it.
        start: as the row gives it.
        found: the text as it stands.
        found_start: where it stands.
    """

    text: str
    start: int
    found: str
    found_start: int


@dataclass(frozen=True)
class EncodeOptions:
    """How rows become token ids: what, besides rows and tokenizer, an encoding depends on.

    Args:
        max_length: tokens of a sequence, or as many as there are.
        purpose: `train` and `score` need labels, and scoring may give a window more context; `predict` has none.
        overlap: tokens that windows of one text share.
        train_on: `last` where only the last turn of the assistant is learned and scored.
        too_long: `cut` where a conversation that is too long loses its oldest turns, instead of windows.
    """

    max_length: int | None
    purpose: Literal["train", "score", "predict"] = "train"
    overlap: int = 0
    train_on: Literal["all", "last"] = "all"
    too_long: Literal["window", "cut"] = "window"


@dataclass(frozen=True)
class LossOptions:
    """How the loss is computed; each as in `TrainRecipe`."""

    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    class_weights: tuple[float, ...] | None = None
    dpo_beta: float = 0.1
    mlm_probability: float = 0.15
    whole_word_masking: bool = False


PLAIN_LOSS = LossOptions()


@dataclass(frozen=True)
class EvalPredictions:
    """Rows, and what the model made of them: all that answers and scores are computed from.

    Args:
        columns: the rows, by the task's columns; those to be predicted are absent in predicting.
        encoded: their sequences.
        outputs: what `Task.select_outputs` gave for each sequence: [sequences, …], or of each token.
        texts: generated, one a row, where the task generates; those of the first rows, where these are samples.
        tokenizer: of the model, for answers that are tokens.
        ended: whether each text ended by itself, and not at the largest number of tokens.
    """

    columns: Values
    encoded: Encoded
    outputs: Any = None
    texts: Sequence[str] | None = None
    tokenizer: Any = None
    ended: Sequence[bool] | None = None
    memo: JsonObject = field(init=False, default_factory=dict, compare=False)
    """What a task has computed of it already."""


MODEL_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids", "position_ids"})
"""What a batch holds for the model; the rest is for the loss."""
