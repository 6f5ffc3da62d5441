"""What a task is. One file in this folder defines one; nothing elsewhere knows a task by its name.

A task says which columns it reads, which model class it needs, how rows become sequences of token ids, what the
loss and the metrics are, and how the model's output becomes answers. A metric is written as per-example
statistics that add up, and a formula on their sums: the same two functions give scores, intervals,
slices and comparisons, exactly and fast.

`Task` holds what most tasks have in common; a new task overrides what it does otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tunesmith.encoded import Encoded, Ragged
from tunesmith.metrics import METRICS, total
from tunesmith.registry import Registry

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.metrics import Scores, Shares, Statistics

Values = Mapping[str, Any]
"""One row, or a batch of rows, by the task's column names."""

LabelSchema = Mapping[str, Any]
"""What a task learned from the training rows (label names, say); JSON, saved with the run."""

Prediction = dict[str, Any]
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
    convert: Callable[[Values], dict[str, Any]]
    named: Mapping[str, Any] = field(default_factory=dict)
    read_inputs: Callable[[Values], dict[str, Any]] | None = None


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
    """

    max_length: int | None
    purpose: Literal["train", "score", "predict"] = "train"
    overlap: int = 0


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
        texts: generated, one a row, where the task generates.
        tokenizer: of the model, for answers that are tokens.
    """

    columns: Values
    encoded: Encoded
    outputs: Any = None
    texts: Sequence[str] | None = None
    tokenizer: Any = None
    memo: dict[str, Any] = field(init=False, default_factory=dict, compare=False)
    """What a task has computed of it already."""


class Task:
    """What every task's file provides, as its object `task`; a task's object holds no state."""

    name: str
    summary: str
    columns: tuple[Column, ...]
    pipeline_tag: str = ""
    """The Hub's name for models of this kind, where it is not the task's own."""
    auto_class: str
    """The class of transformers that loads the model: `AutoModelForSequenceClassification`."""
    suggested_model: str = "sentence-transformers/all-MiniLM-L6-v2"
    """A small model to begin with, for `init` and for messages."""
    makes_head: bool = False
    """Whether a head that the model lacks may be new; else its absence means that the model is unfit."""
    primary_metric: str
    """The name of a metric that is declared in `tunesmith.metrics`, as all names in `formula` are."""
    selection_metric: str = ""
    """The metric that chooses the best step, where it is not the primary one."""
    has_probe: bool = False
    """Whether the head is linear, so that it can be fitted on frozen features."""
    baselines: tuple[str, ...] = ()
    """Names in `tunesmith.evaluation.baselines` of what the result is compared with."""
    supported_options: tuple[str, ...] = ()
    """The keys of `train` that only some tasks heed, and this one does."""
    pools: bool = False
    """Whether one vector stands for the whole text, so that the body may end in a pooling layer."""
    max_length: int | None = None
    """What `auto` is for `data.max_length`; None is as long as the longest text."""
    least_length: int = 4
    """The smallest `data.max_length` that leaves something to read."""
    aligns: bool = False
    """Whether answers are looked for where they do not stand, if the recipe says so: see `align`."""
    windows: bool = False
    """Whether a text longer than `max_length` becomes several sequences instead of being cut."""
    outputs_per_token: bool = False
    """Whether `keep` gives one entry a token, [b, s, …], instead of one a sequence."""
    generates: bool = False
    """Whether an answer is a text that the model generates."""
    scores_texts: bool = False
    """Whether the metrics need generated texts."""
    item: str = ""
    """What the loss counts, where `max_length` can take some of it: `summary tokens`."""
    rows_wanted: int = 10_000
    """About so many rows should be seen in training, within `most_epochs`."""
    most_epochs: int = 6
    rate_factor: float = 1.0
    """How much larger the learning rate is than is usual for a model of its size."""
    chats: bool = False
    """Whether rows are rendered by a chat template."""
    packs: bool = False
    """Whether several short texts can share one sequence."""
    needs_reference: bool = False
    """Whether the loss compares with a reference model's likelihoods."""

    inputs: tuple[str, ...] = ()
    """The values of a row that predictions are made from, as `read` names them; the text comes first."""
    outputs: tuple[str, ...] = ()
    """The values that shall be predicted, as `read` names them."""
    shown: tuple[str, ...] = ()
    """The inputs that are shown beside an answer."""
    text_column: str = ""
    """The column that a text without a name belongs to; empty where one text is not enough."""
    shown_as: Literal["labels", "entities", "answers", "texts", "pairs", "nothing"] = "labels"
    """How the report shows answers."""

    def __init_subclass__(cls) -> None:
        """What `read` gives has the names of the columns, unless a task says otherwise."""
        if "columns" in cls.__dict__ and "inputs" not in cls.__dict__:
            cls.inputs = tuple(column.name for column in cls.columns if not column.target)
        if "columns" in cls.__dict__ and "outputs" not in cls.__dict__:
            cls.outputs = tuple(column.name for column in cls.columns if column.target)
        if "shown" not in cls.__dict__:
            cls.shown = cls.inputs
        if "text_column" not in cls.__dict__ and cls.inputs:
            cls.text_column = cls.inputs[0]

    def recognise(self, header: Collection[str], rows: Sequence[Values]) -> Recognised | None:
        """A format of whole rows, when the columns look like one; `rows` are some of the file's."""
        return None

    def converters(
        self, values: Mapping[str, Sequence[Any]], label_schema: LabelSchema | None
    ) -> Mapping[str, Callable[[Any], Any]]:
        """How the values of columns are read where one row alone does not tell, by the task's columns.

        Args:
            values: some of each column of a source.
            label_schema: what was learned, where these are not the training rows.
        """
        return {}

    def read(self, row: Values) -> dict[str, Any]:
        """One row's values, cleaned, by column name; raises RowError where it cannot be used."""
        raise NotImplementedError

    def align(self, row: Values, how: str) -> tuple[Values, list[Realigned]]:
        """A row before it is read, with its answers where they stand; `how` as in `data.align_answers`."""
        return row, []

    def misplaced(self, columns: Values) -> list[str]:
        """What the places in rows of one file have in common that are wrong: the unit they are counted in, say."""
        return []

    def lacks(self, chosen: Collection[str], *, need_targets: bool) -> str:
        """A column that must be there besides the required ones; empty when nothing is missing."""
        return ""

    def learn_label_schema(self, train: Values) -> LabelSchema:
        """What the model's head needs to know of the training columns; raises DataError if unfit."""
        return {}

    def notices(self, train: Values, label_schema: LabelSchema) -> list[str]:
        """What the user should know of the training rows."""
        return []

    def check_targets(self, row: Values, label_schema: LabelSchema) -> None:
        """Raises RowError when a row's target is not among those learned."""

    def config(self, label_schema: LabelSchema) -> dict[str, Any]:
        """Entries of the model's config: `id2label`, `num_labels`, …."""
        return {}

    def label_schema_of(self, config: Any) -> LabelSchema:
        """The targets a saved model's config tells."""
        return {}

    def prepare_tokenizer(self, tokenizer: Any, train: Values, *, chat_template: str) -> list[str]:
        """Makes a tokenizer fit for the training rows; returns the tokens that were added to it."""
        return []

    def encode(
        self, batch: Values, tokenizer: Any, options: EncodeOptions, label_schema: LabelSchema
    ) -> Encoded:
        """Sequences of a batch of rows, with labels where the batch has its target columns."""
        raise NotImplementedError

    def num_items(self, encoded: Encoded) -> NDArray[np.int64]:
        """How many items of the loss each sequence holds; their sum over a batch is its denominator."""
        return np.ones(len(encoded), dtype=np.int64)

    def draw(
        self, encoded: Encoded, rng: np.random.Generator, tokenizer: Any, options: LossOptions
    ) -> Encoded:
        """What is drawn anew each time sequences are trained on or looked at: masks, for one."""
        return encoded

    def forward(self, model: Any, batch: Batch) -> torch.Tensor:
        """The model's output for a padded batch: logits [b, …]."""
        inputs: dict[str, Any] = {k: v for k, v in batch.items() if k in MODEL_INPUTS}
        if "position_ids" in inputs:
            # With a cache, transformers would take the positions for those of one long text.
            inputs["use_cache"] = False
        logits: torch.Tensor = model(**inputs).logits
        return logits

    def loss(self, outputs: torch.Tensor, batch: Batch, options: LossOptions) -> torch.Tensor:
        """The loss summed over the items of a batch (never a mean)."""
        raise NotImplementedError

    def divergence(self, one: torch.Tensor, other: torch.Tensor, batch: Batch) -> torch.Tensor:
        """How far two outputs for one batch are apart, summed over its items: Kullback-Leibler, both ways."""
        p, q = (x.float() if x.dtype.itemsize < 4 else x for x in (one, other))
        p, q = p.log_softmax(-1), q.log_softmax(-1)
        each = ((p.exp() - q.exp()) * (p - q)).sum(-1) / 2
        labels = batch.get("labels")
        if labels is not None and labels.shape == each.shape:
            each = each.masked_fill(labels == IGNORED, 0.0)
        return each.sum()

    def select_outputs(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """What scoring needs of the output, [b, …] or [b, s, …]."""
        return outputs

    def head_scale(self, label_schema: LabelSchema) -> tuple[float, float]:
        """Where the head's output lies, and in what unit it varies: (centre, scale)."""
        return 0.0, 1.0

    def end_tokens(self, tokenizer: Any) -> list[int]:
        """Tokens that end an answer, where the model's own settings do not say so."""
        return []

    @property
    def fits_thresholds(self) -> bool:
        """Whether something is fitted on the validation rows after training."""
        return type(self).fit_thresholds is not Task.fit_thresholds

    def fit_thresholds(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> LabelSchema:
        """Targets with whatever is fitted on the validation rows after training."""
        return label_schema

    def decode(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> list[Prediction]:
        """Answers, one a row."""
        raise NotImplementedError

    def gold(self, columns: Values, label_schema: LabelSchema) -> list[Any]:
        """The true answers, one a row, in the spelling of the data."""
        return list(columns[self.outputs[0]])

    def sample_prompts(self, columns: Values) -> Values:
        """What the texts shown in the report continue, where the scores need none."""
        return columns

    def is_correct(self, prediction: Prediction, gold: Any) -> bool | None:
        """Whether an answer is right, for the list of errors; None where that is no question."""
        return None

    def error_of(self, prediction: Prediction, gold: Any) -> float:
        """How bad a wrong answer is, for the order of the list of errors: the most confident first."""
        return float(prediction.get("score", 0.0))

    def details(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> dict[str, Any]:
        """What the report shows besides the metrics, by the name of the section that draws it."""
        return {}

    def statistics(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> Statistics:
        """Per-example statistics [rows, statistics] that add up to what the formula needs."""
        raise NotImplementedError

    def formula(self, sums: NDArray[np.float64], label_schema: LabelSchema) -> Scores:
        """Metrics from summed statistics [..., statistics]."""
        raise NotImplementedError

    def shares(self, label_schema: LabelSchema) -> Shares:
        """The metrics that are shares of decisions, for their intervals; see `tunesmith.metrics.Share`."""
        return {}

    def validation_scores(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> dict[str, float]:
        """The scores of a look at the validation rows in training."""
        return point_scores(self, evaluated, label_schema)


MODEL_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids", "position_ids"})
"""What a batch holds for the model; the rest is for the loss."""

HIDDEN_KEYS = frozenset({"scores", "top"})
"""Entries of a prediction that are shown only when more than the best answer is asked for."""

TASKS: Registry[Task] = Registry("tunesmith.tasks", "task", Task)


def point_scores(task: Task, evaluated: EvalPredictions, label_schema: LabelSchema) -> dict[str, float]:
    """Every metric of the task, without intervals.

    Raises:
        UnknownNameError: The task's formula has a metric that no file in `tunesmith.metrics` declares.
    """
    sums = total(task.statistics(evaluated, label_schema))
    return {METRICS.get(name).name: float(value) for name, value in task.formula(sums, label_schema).items()}


def best_metric(task: Task) -> tuple[str, bool]:
    """The metric that chooses the best step, and whether greater is better."""
    name = task.selection_metric or task.primary_metric
    return name, METRICS.get(name).greater_is_better


__all__ = [
    "HIDDEN_KEYS", "IGNORED", "MODEL_INPUTS", "PLAIN_LOSS", "TASKS", "Batch", "Column",
    "EncodeOptions", "Encoded",
    "LossOptions", "Prediction", "Ragged", "Recognised", "RowError", "Seen", "Targets", "Task", "Values",
    "best_metric", "point_scores",
]  # fmt: skip
