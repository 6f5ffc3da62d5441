"""What only some tasks have. A task declares an object for each of its own; the rest of the code asks for it.

    probe = LinearProbe()
    windows = Windows()

An attribute that a task does not set is None: it has no such capability.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunesmith.metrics.writing import Expected
from tunesmith.tasks._scaling import GivenAnswers, Scaling
from tunesmith.tasks._types import (
    EvalPredictions,
    LabelSchema,
    LossOptions,
    Realigned,
    Recognised,
    Values,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tunesmith.encoded import Encoded
    from tunesmith.types import Tokenizer

Converter = Callable[[object], object]
"""From the value of a column of the file to that of the task."""


def _plain_scale(label_schema: LabelSchema) -> tuple[float, float]:
    return 0.0, 1.0


def _unmoved(label_schema: LabelSchema, scaling: Scaling) -> LabelSchema:
    return label_schema


def _no_end_tokens(tokenizer: Tokenizer) -> list[int]:
    return []


def _nothing_expected(columns: Values) -> list[Expected]:
    n = len(next(iter(columns.values()), ()))
    return [Expected()] * n


def _whole_rows(columns: Values) -> Values:
    return columns


def _source_and_target(task: Any, prompt: str, answer: str) -> Values:
    return {task.inputs[0]: prompt, task.outputs[0]: answer}


@dataclass(frozen=True)
class Length:
    """How long the sequences of a task are.

    Args:
        auto: tokens that `data.max_length: auto` stands for; None for the longest text.
        least: the smallest `data.max_length` that leaves something to read.
        answer_share: share of `data.max_length` that a prompt leaves for the answer in the same sequence.
    """

    auto: int | None = None
    least: int = 4
    answer_share: float = 0.0

    def of_prompt(self, max_length: int) -> int:
        """The most tokens of a prompt."""
        return max_length - int(max_length * self.answer_share)


@dataclass(frozen=True)
class Schedule:
    """What `auto` means for the number of epochs, the learning rate and the batches.

    Args:
        rows_wanted: rows that training reads, counted over all epochs, within `most_epochs`.
        most_epochs: upper limit of the number of epochs.
        rate_factor: factor on the learning rate that is usual for a model of this size.
        rows_per_batch: rows of a batch, where it needs rows of all lengths; None for about 32 of similar length.
    """

    rows_wanted: int = 10_000
    most_epochs: int = 6
    rate_factor: float = 1.0
    rows_per_batch: int | None = None


@dataclass(frozen=True)
class LinearProbe:
    """The head is linear, so that it can be fitted on frozen features.

    Args:
        head_scale: centre and scale of the head's outputs.
    """

    head_scale: Callable[[LabelSchema], tuple[float, float]] = _plain_scale


@dataclass(frozen=True)
class Contrast:
    """Each row has one label, so that rows of one label can be drawn together and others apart.

    Args:
        labels: the label of each row, from the columns.
    """

    labels: Callable[[Values], Sequence[Any]]


@dataclass(frozen=True)
class Pooling:
    """One vector stands for the whole text, so that the body may end in a pooling layer."""


@dataclass(frozen=True)
class Windows:
    """A text longer than `max_length` becomes several sequences instead of being cut."""


@dataclass(frozen=True)
class Packing:
    """Several short texts can share one sequence."""


@dataclass(frozen=True)
class SentenceVectors:
    """A text becomes one vector, pooled from the last hidden states; sentence-transformers loads the saved model.

    Args:
        reader: gives the task that reads single texts, for their vectors.
    """

    reader: Callable[[], Any]


@dataclass(frozen=True)
class Generation:
    """An answer is a text that the model generates.

    Args:
        scores_texts: whether the metrics need generated texts.
        end_tokens: tokens that end an answer, of a tokenizer, where the model's own settings do not name them.
        sample_prompts: prompts from the columns of scored rows, for the texts shown in the report.
        samples: texts that are generated where the metrics need none and the recipe does not say how many.
        expected: what the texts of scored rows are compared with, from their columns; if the metrics need texts,
            `Task.gold` says it.
        reader: gives the task that reads plain texts with such a model, for their likelihood; None for a model
            that has none.
        with_answer: the row of a prompt and its answer, as `Task.read` takes it, from the task and both texts.
        replies: gives the task whose rows hold one answer, where those of this task hold several.
    """

    scores_texts: bool = False
    end_tokens: Callable[[Tokenizer], list[int]] = _no_end_tokens
    sample_prompts: Callable[[Values], Values] = _whole_rows
    samples: int = 8
    expected: Callable[[Values], list[Expected]] = _nothing_expected
    reader: Callable[[], Any] | None = None
    with_answer: Callable[[Any, str, str], Values] = _source_and_target
    replies: Callable[[], Any] | None = None


@dataclass(frozen=True)
class ChatTemplate:
    """Rows are rendered by a chat template.

    Args:
        give: gives a tokenizer the template that `data.chat_template` names, and returns the added tokens.
        learns_turns: whether a row is a whole conversation, of which `data.train_on` chooses the turns that are
            learned, and which `data.too_long: cut` can shorten.
    """

    give: Callable[[Tokenizer, str], list[str]]
    learns_turns: bool = False


@dataclass(frozen=True)
class Decoders:
    """Models that are a decoder alone can do the task, too.

    Args:
        task: gives the object that stands for the task with such a model: the same name, columns and metrics.
    """

    task: Callable[[], Any]


INSTRUCTION = "instruction"
"""The entry of a label schema with the instruction of a prompt."""


@dataclass(frozen=True)
class Instruction:
    """A prompt says in words what is to be done with a text; `INSTRUCTION` of the label schema holds it.

    Args:
        default: what it says where the recipe does not; from the file's column for each of the task's.
    """

    default: Callable[[Mapping[str, str]], str]


@dataclass(frozen=True)
class Vocabulary:
    """The tokenizer must know the characters of the texts to be written.

    Args:
        extend: adds what a tokenizer lacks for some texts, and returns the added tokens.
    """

    extend: Callable[[Sequence[str], Tokenizer], list[str]]


@dataclass(frozen=True)
class Reference:
    """The loss compares with the outputs of the model before training, which the batch holds as `reference`."""


@dataclass(frozen=True)
class Thresholds:
    """Something is fitted on the validation rows after training.

    Args:
        fit: the label schema with what was fitted.
        moved: the label schema that gives the same answers once the head's outputs are scaled.
    """

    fit: Callable[[EvalPredictions, LabelSchema], LabelSchema]
    moved: Callable[[LabelSchema, Scaling], LabelSchema] = _unmoved


@dataclass(frozen=True)
class Calibration:
    """An answer has a score that shall be the probability that it is right.

    Args:
        given: the answers that were given for some rows, with their scores.
        targets: [rows, k], what each output of the head should have said: 1 for a true label, 0 for another. None
            where the outputs are not those of a row; then one factor is fitted on the answers themselves.
        independent: whether each output is a question of its own (sigmoid) instead of a choice (softmax).
    """

    given: Callable[[EvalPredictions, LabelSchema], GivenAnswers]
    targets: Callable[[EvalPredictions], NDArray[np.float64]] | None = None
    independent: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that change this task's head."""
        return ("temperature",) if self.targets is None else ("temperature", "vector")


@dataclass(frozen=True)
class Uncertainty:
    """A person can give the labels of a row, and the model can be unsure of it: rows can be picked for labelling.

    Args:
        of: [items], how unsure the model is of each, from outputs [items, k] and the label schema; an item is a
            row, or a token. None where outputs do not say it, as numbers do not.
    """

    of: Callable[[NDArray[np.floating], LabelSchema], NDArray[np.float64]] | None = None


ORDER = "order"
"""The entry of a label schema with the position of each label, where labels have an order."""


@dataclass(frozen=True)
class OrderedLabels:
    """Labels may have an order, so that an answer can be nearly right; `ORDER` of the label schema holds it.

    Args:
        recognise: the position of each label from 0, from their names; None where these show no order.
    """

    recognise: Callable[[Sequence[str]], list[int] | None]


OFFSETS = "decision_offsets"
"""The entry of a label schema with what is added to each output before the answer is chosen."""

DECISION_KEY = "tunesmith_decision_offsets"
"""Entry of config.json with the same, in the order of the labels."""


@dataclass(frozen=True)
class Decision:
    """The answer is the label with the largest output; `OFFSETS` of the label schema can favour rare labels.

    Offsets act on the answer alone: the probabilities that are reported are those without them.

    Args:
        labels: [rows], the number of the true label.
        metric: the metric that offsets shall raise.
        cost: the metric that they may lower.
    """

    labels: Callable[[EvalPredictions], NDArray[np.int64]]
    metric: str = "f1_macro"
    cost: str = "accuracy"


@dataclass(frozen=True)
class Masking:
    """Inputs and labels are drawn anew each time that sequences are trained on.

    Args:
        draw: sequences with labels, from those without, a random generator, the tokenizer and the loss's options.
    """

    draw: Callable[[Encoded, np.random.Generator, Tokenizer, LossOptions], Encoded]


@dataclass(frozen=True)
class Alignment:
    """Answers stand in a text, and `data.align_answers` can look for them elsewhere than their rows say.

    Args:
        align: from a row and the value of `data.align_answers` to the row with its answers where they stand.
    """

    align: Callable[[Values, str], tuple[Values, list[Realigned]]]


@dataclass(frozen=True)
class Offsets:
    """Rows give positions in a text, which other tools may count in another unit.

    Args:
        notices: what the positions in the rows of one file have in common that is wrong.
    """

    notices: Callable[[Values], list[str]]


@dataclass(frozen=True)
class Layouts:
    """Rows come in other ways, too, than with one column for each of the task's.

    Args:
        recognise: the format of whole rows, from the header and some rows of a file; None where there is none.
        converters: how the values of columns are read where one row alone does not tell, by the task's columns;
            from some values of each column, and the label schema where these are not the training rows.
        lacks: a column that must be there besides the required ones, from the columns that were found and whether
            targets are needed; empty when nothing is missing.
    """

    recognise: Callable[[Collection[str], Sequence[Values]], Recognised | None] | None = None
    converters: (
        Callable[[Mapping[str, Sequence[object]], LabelSchema | None], Mapping[str, Converter]] | None
    ) = None
    lacks: Callable[[Collection[str], bool], str] | None = None
