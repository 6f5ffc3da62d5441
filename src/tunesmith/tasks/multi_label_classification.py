"""Any number of labels for each text: emotions, subjects, tags.

The loss is the binary cross-entropy of each label, summed over the labels, so an item is a text. A label is
predicted if its probability reaches its threshold. The thresholds are fitted on the validation rows after
training, and saved in config.json. An answer is a list of the Hub's `TextClassificationOutput`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.errors import DataError
from tunesmith.metrics import Scores, Shares, Statistics, multi_label, total
from tunesmith.tasks import (
    LABEL_SCORES,
    Batch,
    Calibration,
    Column,
    Confidence,
    Encoded,
    EncodeOptions,
    EvalPredictions,
    GivenAnswers,
    LabelSchema,
    Layouts,
    LinearProbe,
    LossOptions,
    Pipeline,
    Pooling,
    Prediction,
    Recognised,
    RowError,
    Scaling,
    Task,
    Thresholds,
    Uncertainty,
    Values,
    displays,
)
from tunesmith.tasks import _texts as texts
from tunesmith.tasks._annotations import recognise_labels
from tunesmith.tasks._cells import label_splitter
from tunesmith.tasks._labels import refuse_unknown_label, spelling_notices
from tunesmith.tasks._values import in_label_order, is_missing, label_config, label_of, labels_in

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.types import Config, JsonObject, Tokenizer

THRESHOLDS_KEY = "tunesmith_thresholds"
"""Entry of config.json with one threshold per label, in the order of the labels."""

_LABELS = ("labels", "label", "tags", "categories", "emotions", "topics", "genres", "classes")
_YES = {"1", "1.0", "true", "yes"}
_NO = {"0", "0.0", "false", "no", ""}


def _recognise(header: Collection[str], rows: Sequence[Values]) -> Recognised | None:
    """Exports of annotation tools; one column a label: two or more of zeros and ones, and none of lists."""
    if tool := recognise_labels(header, rows, several=True):
        return tool
    names = {name.strip().lower() for name in header}
    sources = {column.name: _named(header, column) for column in (texts.TEXT, texts.TEXT_PAIR)}
    read = {name: source for name, source in sources.items() if source is not None}
    flags = tuple(
        name for name in header if name not in read.values() and all(_is_flag(row.get(name)) for row in rows)
    )
    if "text" not in read or len(flags) < 2 or names & set(_LABELS):
        return None

    def convert(row: Values) -> JsonObject:
        found = {name: row.get(source) for name, source in read.items()}
        return {**found, "labels": {name: row.get(name) for name in flags}}

    return Recognised(
        "one column a label", (*read.values(), *flags), convert, {**read, "labels": list(flags)}
    )


def _converters(
    values: Mapping[str, Sequence[object]], label_schema: LabelSchema | None
) -> Mapping[str, Callable[[object], object]]:
    """The separator of several labels in a cell is that of the column."""
    known = label_schema["labels"] if label_schema else None
    return {"labels": label_splitter(values["labels"], known)} if "labels" in values else {}


def _fit_thresholds(evaluated: EvalPredictions, label_schema: LabelSchema) -> LabelSchema:
    """One threshold a label."""
    fitted = multi_label.fit_thresholds(_probabilities(evaluated), evaluated.encoded.dense["labels"])
    return {**label_schema, "thresholds": [float(value) for value in fitted]}


def _moved_thresholds(label_schema: LabelSchema, scaling: Scaling) -> LabelSchema:
    """Thresholds that give the same labels from scaled outputs."""
    thresholds = np.asarray(label_schema["thresholds"], dtype=np.float64)
    with np.errstate(divide="ignore"):
        logits = scaling(np.log(thresholds) - np.log1p(-thresholds))
    return {**label_schema, "thresholds": _sigmoid(logits).astype(np.float32).tolist()}


def _given_labels(evaluated: EvalPredictions, label_schema: LabelSchema) -> GivenAnswers:
    """Every label that a row was given."""
    rows, labels = np.nonzero(_given(_probabilities(evaluated), label_schema))
    logits = np.asarray(evaluated.outputs)[rows, labels]
    true = evaluated.encoded.dense["labels"][rows, labels] > 0
    numbers = np.arange(len(rows))
    return GivenAnswers(np.stack([logits, 0 * logits], -1), 0 * numbers, numbers, true, rows)


def _targets(evaluated: EvalPredictions) -> NDArray[np.float64]:
    return np.asarray(evaluated.encoded.dense["labels"], dtype=np.float64)


def _expected_errors(outputs: NDArray[np.floating], label_schema: LabelSchema) -> NDArray[np.float64]:
    """[rows], the expected number of labels that are wrong or missing."""
    probabilities = np.asarray(_sigmoid(np.asarray(outputs, dtype=np.float32)), dtype=np.float32)
    given = _given(probabilities, label_schema)
    return np.asarray(np.where(given, 1 - probabilities, probabilities).sum(axis=1), dtype=np.float64)


def _confidence(prediction: Prediction, label_schema: LabelSchema) -> float:
    """The probability that every label of the set is right and none is missing, if labels were independent."""
    given = {item["label"] for item in prediction["labels"]}
    right = [
        score if name in given else 1 - score
        for name, score in zip(label_schema["labels"], prediction["scores"], strict=True)
    ]
    return float(np.prod(np.asarray(right, dtype=np.float64)))


class MultiLabelClassification(Task):
    """The task's object."""

    name = "multi-label-classification"
    summary = "any number of labels for each text"
    aliases = ("multi-label", "multilabel", "multilabel-classification")
    columns = (texts.TEXT, texts.TEXT_PAIR, Column("labels", "list", _LABELS, target=True))
    auto_class = "AutoModelForSequenceClassification"
    primary_metric = "f1_micro"
    pooling = Pooling()
    supported_options = ("focal_gamma", "r_drop_alpha", "augment", "label_smoothing_factor", "class_weights")
    probe = LinearProbe()
    baselines = ("all_frequent", "tfidf_logistic_regression")
    layouts = Layouts(_recognise, _converters)
    thresholds = Thresholds(_fit_thresholds, _moved_thresholds)
    calibration = Calibration(_given_labels, _targets, independent=True)
    uncertainty = Uncertainty(_expected_errors)
    alternatives = LABEL_SCORES
    confidence = Confidence("sets of labels", _confidence)
    pipeline = Pipeline("text-classification")
    display = displays.SEVERAL_LABELS

    def read(self, row: Values) -> JsonObject:
        """See Task; an empty list of labels is valid."""
        example = texts.read_texts(row)
        return {**example, "labels": _labels_of(row["labels"])} if "labels" in row else example

    def resembles(self, columns: Values) -> bool:
        """See Task: some texts have several labels, and the labels repeat."""
        names = [name for labels in columns["labels"] for name in labels]
        return any(len(labels) > 1 for labels in columns["labels"]) and len(set(names)) <= len(names) / 2

    def learn_label_schema(self, train: Values) -> LabelSchema:
        """See Task."""
        counts: dict[str, int] = {}
        for labels in train["labels"]:
            for label in labels:
                counts[label] = counts.get(label, 0) + 1
        if not counts:
            raise DataError(
                f"none of the {len(train['labels'])} training rows has a label.",
                remedy="Name the right column (`--column labels=COLUMN`).",
            )
        if len(counts) > max(50, len(train["labels"]) // 2):
            raise DataError(
                f"labels must repeat, and the training rows have {len(counts)} different ones.",
                remedy="Name the right column (`--column labels=COLUMN`).",
            )
        return {"labels": in_label_order(counts)}

    def check_targets(self, row: Values, label_schema: LabelSchema) -> None:
        """See Task."""
        for label in row.get("labels") or ():
            refuse_unknown_label(label, label_schema["labels"])

    def notices(self, train: Values, label_schema: LabelSchema) -> list[str]:
        """See Task: labels that differ only in spelling."""
        return spelling_notices(Counter(label for labels in train["labels"] for label in labels))

    def config(self, label_schema: LabelSchema) -> JsonObject:
        """See Task."""
        config = label_config(label_schema["labels"], "multi_label_classification")
        return (
            {**config, THRESHOLDS_KEY: label_schema["thresholds"]} if "thresholds" in label_schema else config
        )

    def label_schema_of(self, config: Config) -> LabelSchema:
        """See Task."""
        label_schema = {"labels": labels_in(config)}
        thresholds = getattr(config, THRESHOLDS_KEY, None)
        return {**label_schema, "thresholds": list(thresholds)} if thresholds else label_schema

    def encode(
        self, batch: Values, tokenizer: Tokenizer, options: EncodeOptions, label_schema: LabelSchema
    ) -> Encoded:
        """See Task; `labels` is [rows, k], 0 or 1."""
        labels = None
        if texts.has_column(batch, "labels"):
            ids = {label: i for i, label in enumerate(label_schema["labels"])}
            labels = np.zeros((len(batch["labels"]), len(ids)), dtype=np.float32)
            for row, names in enumerate(batch["labels"]):
                labels[row, [ids[name] for name in names]] = 1.0
        return texts.encode_texts(batch, tokenizer, options, labels)

    def loss(self, outputs: torch.Tensor, batch: Batch, options: LossOptions) -> torch.Tensor:
        """See Task."""
        from torch.nn import functional as F

        logits = outputs.float() if outputs.dtype.itemsize < 4 else outputs
        wanted = batch["labels"].to(logits.dtype)
        smooth = wanted * (1 - options.label_smoothing) + 0.5 * options.label_smoothing
        weights = None if options.class_weights is None else logits.new_tensor(options.class_weights)
        each = F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weights, reduction="none")
        if options.focal_gamma:
            right = (logits.sigmoid() * (2 * wanted - 1) + (1 - wanted)).clamp(0, 1)
            each = (1 - right) ** options.focal_gamma * each
        # Summed over the labels, so that the loss of a text does not shrink with the number of labels.
        return each.sum()

    def divergence(self, one: torch.Tensor, other: torch.Tensor, batch: Batch) -> torch.Tensor:
        """See Task; each label is a separate choice."""
        p, q = one.float(), other.float()
        return ((p.sigmoid() - q.sigmoid()) * (p - q)).sum() / 2

    def decode(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> list[Prediction]:
        """See Task; `labels` are the predicted ones, most probable first; `scores` has all probabilities."""
        names, probabilities = label_schema["labels"], _probabilities(evaluated)
        given = _given(probabilities, label_schema)
        return [
            {
                "labels": [
                    {"label": names[i], "score": float(row[i])}
                    for i in np.argsort(-row, kind="stable")
                    if on[i]
                ],
                "scores": row,
            }
            for row, on in zip(probabilities, given, strict=True)
        ]

    def is_correct(self, prediction: Prediction, gold: list[str]) -> bool:
        """See Task: exactly the right labels."""
        return {item["label"] for item in prediction["labels"]} == set(gold)

    def error_of(self, prediction: Prediction, gold: list[str]) -> float:
        """See Task: labels that are wrong or missing."""
        return float(len({item["label"] for item in prediction["labels"]} ^ set(gold)))

    def details(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> JsonObject:
        """See Task: `per_class`."""
        sums = total(self.statistics(evaluated, label_schema))
        return {"per_class": {"labels": label_schema["labels"], **multi_label.per_label(sums)}}

    def statistics(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> Statistics:
        """See Task."""
        given = _given(_probabilities(evaluated), label_schema)
        return multi_label.statistics(
            evaluated.encoded.dense["labels"].astype(np.int64), given.astype(np.int64)
        )

    def formula(self, sums: NDArray[np.float64], label_schema: LabelSchema) -> Scores:
        """See Task."""
        return multi_label.formula(sums)

    def shares(self, label_schema: LabelSchema) -> Shares:
        """See Task."""
        return multi_label.shares(len(label_schema["labels"]))


task = MultiLabelClassification()


def _probabilities(evaluated: EvalPredictions) -> NDArray[np.float32]:
    return np.asarray(_sigmoid(np.asarray(evaluated.outputs, dtype=np.float32)), dtype=np.float32)


def _sigmoid(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))))


def _given(probabilities: NDArray[np.float32], label_schema: LabelSchema) -> NDArray[np.bool_]:
    thresholds = np.asarray(label_schema.get("thresholds", [0.5] * probabilities.shape[1]), dtype=np.float32)
    return probabilities >= thresholds


def _labels_of(value: object) -> list[str]:
    """Label names from a list, from a text (`a, b`, `a; b` or JSON), or from columns of 0 and 1."""
    if isinstance(value, Mapping):
        return [name for name, flag in value.items() if _flag(name, flag)]
    if is_missing(value):
        raise RowError("no labels.")
    if isinstance(value, str):
        value = label_splitter([value], None)(value)
    if not isinstance(value, (list, tuple)):
        raise RowError(f"labels must be a list, got {type(value).__name__} `{value}`.")
    return list(dict.fromkeys(label_of(label) for label in value))


def _named(header: Collection[str], column: Column) -> str | None:
    """The file's column for a column of the task, by its name or an alias."""
    return next((name for name in header if name.strip().lower() in (column.name, *column.aliases)), None)


def _is_flag(value: object) -> bool:
    return str(value).strip().lower() in {"0", "1", "0.0", "1.0", "true", "false"}


def _flag(name: str, value: object) -> bool:
    text = "" if is_missing(value) else str(value).strip().lower()
    if text not in _YES | _NO:
        raise RowError(f"column `{name}` must be 0 or 1, got `{value}`.")
    return text in _YES
