"""What a task is. One file in this folder defines one; nothing elsewhere knows a task by its name.

A task says which columns it reads, which model class it needs, how rows become sequences of token ids, what the
loss and the metrics are, and how the model's output becomes answers. A metric is per-example statistics that add
up, and a formula on their sums: they give scores, intervals, slices and comparisons.

`Task` is the core. A new task must define what has no value there (`name` to `primary_metric`, and six abstract
methods), and overrides the rest where it differs. What only some have is declared as objects (`_capabilities.py`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.encoded import Encoded, Ragged
from tunesmith.errors import UnknownNameError, did_you_mean, nearest
from tunesmith.metrics import METRICS, total
from tunesmith.registry import Registry
from tunesmith.tasks import _display as displays
from tunesmith.tasks._alternatives import LABEL_SCORES, TOP_ANSWERS, Alternatives
from tunesmith.tasks._answer_capabilities import Confidence, Display, Pipeline, PredictionSets
from tunesmith.tasks._capabilities import (
    DECISION_KEY,
    INSTRUCTION,
    OFFSETS,
    ORDER,
    Alignment,
    Calibration,
    ChatTemplate,
    Contrast,
    Decision,
    Decoders,
    Generation,
    Instruction,
    Layouts,
    Length,
    LinearProbe,
    Masking,
    Offsets,
    OrderedLabels,
    Packing,
    Pooling,
    Reference,
    Schedule,
    SentenceVectors,
    Thresholds,
    Uncertainty,
    Vocabulary,
    Windows,
)
from tunesmith.tasks._declared import refuse_unknown_members, refuse_wrong_capabilities, require_members
from tunesmith.tasks._kinds import CAPABILITIES
from tunesmith.tasks._scaling import GivenAnswers, Scaling
from tunesmith.tasks._types import (
    IGNORED,
    MODEL_INPUTS,
    PLAIN_LOSS,
    Batch,
    Column,
    EncodeOptions,
    EvalPredictions,
    LabelSchema,
    LossOptions,
    Prediction,
    Realigned,
    Recognised,
    RowError,
    Values,
)

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.metrics import Scores, Shares, Statistics
    from tunesmith.types import Config, JsonObject, Model, Tokenizer


class Task:
    """What every task's file provides, as its object `task`; a task's object holds no state.

    A subclass that is not `abstract` must define annotations without a value and abstract methods. Names that
    begin with an underscore are a task's own; any other unknown name is an error.
    """

    # ---- what it is ----

    name: str
    summary: str
    """What it learns, in a few words without a full stop."""
    columns: tuple[Column, ...]
    aliases: tuple[str, ...] = ()
    """Other names that people use for it, in lower case with hyphens: `ner`."""
    auto_class: str
    """The class of transformers that loads the model: `AutoModelForSequenceClassification`."""
    primary_metric: str
    """The name of a metric that is declared in `tunesmith.metrics`, as all names in `formula` are."""
    selection_metric: str = ""
    """The metric that chooses the best step, where it is not the primary one."""
    baselines: tuple[str, ...] = ()
    """Names in `tunesmith.evaluation.baselines` of what the result is compared with."""
    suggested_model: str = "sentence-transformers/all-MiniLM-L6-v2"
    """A small model to begin with, for `init` and for messages."""
    supported_options: tuple[str, ...] = ()
    """Keys of `train` that only some tasks support, and this one does."""
    makes_head: bool = False
    """Whether a head that the model lacks may be new; else its absence means that the model is unfit."""
    compares_rows: bool = False
    """Whether the loss compares the rows of a batch with each other, so that it is no sum over parts of the batch.

    `loss` then gets the outputs of the whole batch, and of the batch the dense fields alone."""
    outputs_per_token: bool = False
    """Whether `select_outputs` gives one entry a token, [b, s, …], instead of one a sequence."""
    item: str = ""
    """What the loss counts, where `max_length` can take some of it: `summary tokens`."""
    length: Length = Length()
    schedule: Schedule = Schedule()

    # ---- what only some have ----

    probe: LinearProbe | None = None
    contrast: Contrast | None = None
    pooling: Pooling | None = None
    vectors: SentenceVectors | None = None
    windows: Windows | None = None
    packing: Packing | None = None
    generation: Generation | None = None
    chat: ChatTemplate | None = None
    decoders: Decoders | None = None
    instruction: Instruction | None = None
    vocabulary: Vocabulary | None = None
    reference: Reference | None = None
    thresholds: Thresholds | None = None
    calibration: Calibration | None = None
    decision: Decision | None = None
    uncertainty: Uncertainty | None = None
    ordered: OrderedLabels | None = None
    masking: Masking | None = None
    alignment: Alignment | None = None
    offsets: Offsets | None = None
    layouts: Layouts | None = None
    alternatives: Alternatives | None = None
    confidence: Confidence | None = None
    sets: PredictionSets | None = None
    pipeline: Pipeline | None = None
    display: Display | None = displays.PLAIN

    # ---- derived from the columns ----

    inputs: tuple[str, ...] = ()
    """The values of a row that predictions are made from, as `read` names them; the text comes first."""
    outputs: tuple[str, ...] = ()
    """The values that shall be predicted, as `read` names them."""
    shown: tuple[str, ...] = ()
    """The inputs that are shown beside an answer."""
    example: str = "a text"
    """A text for the examples that documents give."""
    text_column: str = ""
    """The column that a text without a name belongs to; empty where one text is not enough."""

    def __init_subclass__(cls, *, abstract: bool = False) -> None:
        """Checks the declaration, and derives names from the columns, unless a task sets them.

        Args:
            abstract: whether the class may lack what a task must have.

        Raises:
            TypeError: a member is unknown, missing, or not of its kind.
        """
        refuse_unknown_members(cls)
        refuse_wrong_capabilities(cls, CAPABILITIES)
        if "columns" in cls.__dict__ and "inputs" not in cls.__dict__:
            cls.inputs = tuple(column.name for column in cls.columns if not column.target)
        if "columns" in cls.__dict__ and "outputs" not in cls.__dict__:
            cls.outputs = tuple(column.name for column in cls.columns if column.target)
        if "shown" not in cls.__dict__:
            cls.shown = cls.inputs
        if "text_column" not in cls.__dict__ and cls.inputs:
            cls.text_column = cls.inputs[0]
        if not abstract:
            require_members(cls)

    # ---- rows ----

    @abstractmethod
    def read(self, row: Values) -> JsonObject:
        """One row's values, cleaned, by column name; raises RowError where it cannot be used."""
        raise NotImplementedError

    def resembles(self, columns: Values) -> bool:
        """Whether sample rows, as `read` gives them, look like this task's; asked where the task is guessed."""
        return True

    def learn_label_schema(self, train: Values) -> LabelSchema:
        """What the model's head needs to know of the training columns; raises DataError if unfit."""
        return {}

    def notices(self, train: Values, label_schema: LabelSchema) -> list[str]:
        """What the user should know of the training rows."""
        return []

    def check_targets(self, row: Values, label_schema: LabelSchema) -> None:
        """Raises RowError when a row's target is not among those learned."""

    def config(self, label_schema: LabelSchema) -> JsonObject:
        """Entries of the model's config: `id2label`, `num_labels`, …."""
        return {}

    def label_schema_of(self, config: Config) -> LabelSchema:
        """The label schema that a saved model's config holds."""
        return {}

    def primary_for(self, label_schema: LabelSchema) -> str:
        """The primary metric, where it depends on what the training rows hold."""
        return self.primary_metric

    # ---- the model ----

    @abstractmethod
    def encode(
        self, batch: Values, tokenizer: Tokenizer, options: EncodeOptions, label_schema: LabelSchema
    ) -> Encoded:
        """Sequences of a batch of rows, with labels where the batch has its target columns."""
        raise NotImplementedError

    def num_items(self, encoded: Encoded) -> NDArray[np.int64]:
        """How many items of the loss each sequence holds; their sum over a batch is its denominator."""
        return np.ones(len(encoded), dtype=np.int64)

    def forward(self, model: Model, batch: Batch) -> torch.Tensor:
        """The model's output for a padded batch: logits [b, …]."""
        inputs: JsonObject = {k: v for k, v in batch.items() if k in MODEL_INPUTS}
        if "position_ids" in inputs:
            # With a cache, transformers would take the positions for those of one long text.
            inputs["use_cache"] = False
        logits: torch.Tensor = model(**inputs).logits
        return logits

    def forward_items(self, model: Model, batch: Batch) -> torch.Tensor:
        """What `loss` and `select_outputs` need of the output, where that is less than `forward` gives."""
        return self.forward(model, batch)

    @abstractmethod
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

    # ---- answers and scores ----

    @abstractmethod
    def decode(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> list[Prediction]:
        """Answers, one a row."""
        raise NotImplementedError

    def gold(self, columns: Values, label_schema: LabelSchema) -> list[Any]:
        """The true answers, one a row, in the spelling of the data."""
        return list(columns[self.outputs[0]])

    def is_correct(self, prediction: Prediction, gold: Any) -> bool | None:
        """Whether an answer is right, for the list of errors; None where that is no question."""
        return None

    def error_of(self, prediction: Prediction, gold: Any) -> float:
        """How bad a wrong answer is, for the order of the list of errors: the most confident first."""
        return float(prediction.get("score", 0.0))

    def details(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> JsonObject:
        """What the report shows besides the metrics, by the name of the section that draws it."""
        return {}

    @abstractmethod
    def statistics(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> Statistics:
        """Per-example statistics [rows, statistics] that add up to what the formula needs."""
        raise NotImplementedError

    @abstractmethod
    def formula(self, sums: NDArray[np.float64], label_schema: LabelSchema) -> Scores:
        """Metrics from summed statistics [..., statistics]."""
        raise NotImplementedError

    def shares(self, label_schema: LabelSchema) -> Shares:
        """The metrics that are shares of decisions, for their intervals; see `tunesmith.metrics.Share`."""
        return {}

    def validation_scores(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> dict[str, float]:
        """The scores of the validation rows during training, with thresholds fitted anew where there are any."""
        if self.thresholds is not None:
            label_schema = self.thresholds.fit(evaluated, label_schema)
        return point_scores(self, evaluated, label_schema)


TASKS: Registry[Task] = Registry("tunesmith.tasks", "task", Task)


def task_name(asked: str) -> str:
    """The name of the task that people call so: `ner` is `token-classification`.

    Raises:
        UnknownNameError: No task has that name.
    """
    spelled = asked.strip().lower().replace("_", "-").replace(" ", "-")
    if spelled in TASKS.names():
        return spelled
    entries, _ = TASKS.loadable()
    by_alias = {alias: name for name, entry in entries.items() for alias in entry.aliases}
    if spelled in by_alias:
        return by_alias[spelled]
    near = nearest(spelled, [*TASKS.names(), *by_alias])
    remedy = f"Did you mean `{by_alias.get(near, near)}`?" if near else did_you_mean(asked, TASKS.names())
    raise UnknownNameError(f"`{asked}` is not a task.", remedy=remedy)


def point_scores(task: Task, evaluated: EvalPredictions, label_schema: LabelSchema) -> dict[str, float]:
    """Every metric of the task, without intervals.

    Raises:
        UnknownNameError: The task's formula has a metric that no file in `tunesmith.metrics` declares.
    """
    sums = total(task.statistics(evaluated, label_schema))
    return {METRICS.get(name).name: float(value) for name, value in task.formula(sums, label_schema).items()}


def best_metric(task: Task, label_schema: LabelSchema) -> tuple[str, bool]:
    """The metric that chooses the best step, and whether greater is better."""
    name = task.selection_metric or task.primary_for(label_schema)
    return name, METRICS.get(name).greater_is_better


def head_scale(task: Task, label_schema: LabelSchema) -> tuple[float, float]:
    """Centre and scale of the head's outputs; 0 and 1 for a task without a probe."""
    return task.probe.head_scale(label_schema) if task.probe is not None else (0.0, 1.0)


def prepare_tokenizer(task: Task, tokenizer: Tokenizer, train: Values, *, chat_template: str) -> list[str]:
    """Makes a tokenizer fit for the training rows, and returns the tokens that were added to it.

    Args:
        task: whose rows they are.
        tokenizer: of the model.
        train: the training columns; empty where there are none.
        chat_template: the recipe's `data.chat_template`.
    """
    if task.chat is not None:
        return task.chat.give(tokenizer, chat_template)
    if task.vocabulary is not None:
        return task.vocabulary.extend(_target_texts(task, train), tokenizer)
    return []


def draw(
    task: Task, encoded: Encoded, rng: np.random.Generator, tokenizer: Tokenizer, options: LossOptions
) -> Encoded:
    """Sequences with what is drawn anew each time that they are trained on: masks, where the task has any."""
    return task.masking.draw(encoded, rng, tokenizer, options) if task.masking is not None else encoded


def best_answer(task: Task, prediction: Prediction) -> Prediction:
    """A prediction without the alternatives to its best answer."""
    hidden = task.alternatives.key if task.alternatives is not None else None
    return {key: value for key, value in prediction.items() if key != hidden}


def _target_texts(task: Task, train: Values) -> Sequence[str]:
    """All texts of the target columns; a value is a text or a list of texts."""
    values = [value for name in task.outputs for value in train.get(name, ())]
    return [text for value in values for text in ([value] if isinstance(value, str) else value)]


__all__ = [
    "CAPABILITIES", "DECISION_KEY", "IGNORED", "INSTRUCTION", "LABEL_SCORES", "MODEL_INPUTS", "OFFSETS", "ORDER",
    "PLAIN_LOSS", "TASKS", "TOP_ANSWERS", "Alignment", "Alternatives", "Batch", "Calibration", "ChatTemplate",
    "Column", "Confidence", "Contrast", "Decision", "Decoders", "Display", "EncodeOptions", "Encoded",
    "EvalPredictions", "Generation", "GivenAnswers", "Instruction", "LabelSchema", "Layouts", "Length",
    "LinearProbe", "LossOptions", "Masking", "Offsets", "OrderedLabels", "Packing", "Pipeline",
    "Pooling", "Prediction", "PredictionSets", "Ragged", "Realigned", "Recognised",
    "Reference", "RowError", "Scaling", "Schedule", "SentenceVectors", "Task",
    "Thresholds", "Uncertainty", "Values", "Vocabulary", "Windows", "best_answer", "best_metric", "displays",
    "draw", "head_scale", "point_scores", "prepare_tokenizer", "task_name",
]  # fmt: skip
