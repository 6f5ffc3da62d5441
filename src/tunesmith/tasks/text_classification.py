"""One label for each text, or pair of texts: sentiment, intent, topic.

The loss is the cross-entropy over the classes. The answer is the most probable label with its probability, in the
shape of the Hub's `TextClassificationOutput`. Where labels are rare, offsets that were fitted on the validation
rows can choose another label, with its own probability (`training/decision.py`). Label names keep
their spelling. Their order is numeric if all are whole numbers, else alphabetic, so it does not depend on that of
the rows.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.errors import DataError
from tunesmith.metrics import Scores, Shares, Statistics, classification, ordinal, total
from tunesmith.tasks import (
    DECISION_KEY,
    LABEL_SCORES,
    OFFSETS,
    ORDER,
    Batch,
    Calibration,
    Column,
    Confidence,
    Contrast,
    Decision,
    Encoded,
    EncodeOptions,
    EvalPredictions,
    GivenAnswers,
    LabelSchema,
    Layouts,
    LinearProbe,
    LossOptions,
    OrderedLabels,
    Pipeline,
    Pooling,
    Prediction,
    PredictionSets,
    Task,
    Uncertainty,
    Values,
    displays,
)
from tunesmith.tasks import _texts as texts
from tunesmith.tasks._annotations import recognise_labels
from tunesmith.tasks._cells import have_several
from tunesmith.tasks._labels import refuse_unknown_label, spelling_notices
from tunesmith.tasks._order import order_of
from tunesmith.tasks._values import (
    are_labels,
    in_label_order,
    label_config,
    label_of,
    labels_in,
    refuse_one_label,
)

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.types import Config, JsonObject, Tokenizer

_LABEL = (
    "label", "labels", "category", "intent", "class", "target", "sentiment", "emotion", "topic", "stars",
    "rating", "tag", "label_text", "label_name",
)  # fmt: skip


ORDER_KEY = "tunesmith_label_order"
"""Entry of config.json with the position of each label, where labels have an order."""


def _labels(evaluated: EvalPredictions) -> NDArray[np.int64]:
    return evaluated.encoded.dense["labels"]


def _given(evaluated: EvalPredictions, label_schema: LabelSchema) -> GivenAnswers:
    """The label that each row was given."""
    outputs, chosen = np.asarray(evaluated.outputs), _answers(evaluated, label_schema)
    return GivenAnswers.of_rows(outputs, chosen == _labels(evaluated), chosen)


def _answers(evaluated: EvalPredictions, label_schema: LabelSchema) -> NDArray[np.int64]:
    """[rows], the number of the label that is answered."""
    outputs = np.asarray(evaluated.outputs)
    if (offsets := label_schema.get(OFFSETS)) is not None:
        outputs = outputs + np.asarray(offsets, dtype=np.float32)
    return np.asarray(outputs.argmax(-1))


def _targets(evaluated: EvalPredictions) -> NDArray[np.float64]:
    """1 for the true label of a row."""
    return np.eye(evaluated.outputs.shape[-1])[_labels(evaluated)]


class TextClassification(Task):
    """The task's object."""

    name = "text-classification"
    summary = "one label for each text, or pair of texts"
    aliases = (
        "classification",
        "sentiment-analysis",
        "sentiment",
        "sequence-classification",
        "intent-classification",
    )
    columns = (texts.TEXT, texts.TEXT_PAIR, Column("label", "category", _LABEL, target=True))
    auto_class = "AutoModelForSequenceClassification"
    primary_metric = "accuracy"
    pooling = Pooling()
    supported_options = ("class_weights", "focal_gamma", "label_smoothing_factor", "r_drop_alpha", "augment")
    probe = LinearProbe()
    contrast = Contrast(lambda columns: columns["label"])
    calibration = Calibration(_given, _targets)
    decision = Decision(_labels)
    uncertainty = Uncertainty(texts.closeness_of_best)
    ordered = OrderedLabels(order_of)
    baselines = ("majority", "tfidf_logistic_regression")
    layouts = Layouts(partial(recognise_labels, several=False))
    alternatives = LABEL_SCORES
    confidence = Confidence()
    sets = PredictionSets("labels", _labels, lambda evaluated: texts.softmax(evaluated.outputs))
    pipeline = Pipeline("text-classification")
    display = displays.ONE_LABEL

    def read(self, row: Values) -> JsonObject:
        """See Task."""
        example = texts.read_texts(row)
        return {**example, "label": label_of(row["label"])} if "label" in row else example

    def resembles(self, columns: Values) -> bool:
        """See Task: labels that repeat, not numbers that measure something, nor several labels in one cell."""
        labels = columns["label"]
        return are_labels(labels) and not have_several(labels)

    def learn_label_schema(self, train: Values) -> LabelSchema:
        """See Task."""
        counts: dict[str, int] = {}
        for label in train["label"]:
            counts[label] = counts.get(label, 0) + 1
        refuse_one_label(counts)
        _refuse_labels_that_never_repeat(counts)
        return {"labels": in_label_order(counts)}

    def check_targets(self, row: Values, label_schema: LabelSchema) -> None:
        """See Task."""
        if "label" in row:
            refuse_unknown_label(row["label"], label_schema["labels"])

    def notices(self, train: Values, label_schema: LabelSchema) -> list[str]:
        """See Task: labels that differ only in spelling, and the order of labels that have one."""
        found = spelling_notices(Counter(train["label"]))
        if ORDER not in label_schema:
            return found
        ascending = [
            label for _, label in sorted(zip(label_schema[ORDER], label_schema["labels"], strict=True))
        ]
        return [*found, f"the labels have an order, {' < '.join(ascending)}: their distance is reported, too"]

    def config(self, label_schema: LabelSchema) -> JsonObject:
        """See Task."""
        order = {ORDER_KEY: label_schema[ORDER]} if ORDER in label_schema else {}
        offsets = {DECISION_KEY: label_schema[OFFSETS]} if OFFSETS in label_schema else {}
        return {**label_config(label_schema["labels"], "single_label_classification"), **order, **offsets}

    def label_schema_of(self, config: Config) -> LabelSchema:
        """See Task."""
        found = {ORDER: getattr(config, ORDER_KEY, None), OFFSETS: getattr(config, DECISION_KEY, None)}
        return {"labels": labels_in(config), **{key: list(value) for key, value in found.items() if value}}

    def encode(
        self, batch: Values, tokenizer: Tokenizer, options: EncodeOptions, label_schema: LabelSchema
    ) -> Encoded:
        """See Task."""
        labels = None
        if texts.has_column(batch, "label"):
            ids = {label: i for i, label in enumerate(label_schema["labels"])}
            labels = np.array([ids[label] for label in batch["label"]], dtype=np.int64)
        return texts.encode_texts(batch, tokenizer, options, labels)

    def loss(self, outputs: torch.Tensor, batch: Batch, options: LossOptions) -> torch.Tensor:
        """See Task."""
        return texts.classification_loss(outputs, batch["labels"], options)

    def decode(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> list[Prediction]:
        """See Task; `scores` has the probability of every label, in the order of the labels."""
        probabilities = texts.softmax(evaluated.outputs)
        best = _answers(evaluated, label_schema)
        labels = label_schema["labels"]
        return [
            {"label": labels[i], "score": float(row[i]), "scores": row}
            for i, row in zip(best, probabilities, strict=True)
        ]

    def is_correct(self, prediction: Prediction, gold: str) -> bool:
        """See Task."""
        return bool(prediction["label"] == gold)

    def details(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> JsonObject:
        """See Task: `per_class`, and `confusion` [true][predicted]."""
        names, labels = label_schema["labels"], _labels(evaluated)
        predicted, k = _answers(evaluated, label_schema), len(names)
        sums = total(classification.statistics(labels, predicted, k))
        counts = np.bincount(labels * k + predicted, minlength=k * k).reshape(k, k)
        return {
            "per_class": {"labels": names, **classification.label_table(sums)},
            "confusion": {"labels": names, "counts": counts.tolist()},
        }

    def statistics(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> Statistics:
        """See Task."""
        labels, predicted = _labels(evaluated), _answers(evaluated, label_schema)
        found = classification.statistics(labels, predicted, len(label_schema["labels"]))
        if ORDER not in label_schema:
            return found
        from scipy import sparse

        order = np.asarray(label_schema[ORDER])
        return sparse.hstack([found, ordinal.statistics(order[labels], order[predicted])], format="csr")

    def formula(self, sums: NDArray[np.float64], label_schema: LabelSchema) -> Scores:
        """See Task."""
        n_columns = 3 * len(label_schema["labels"])
        found = classification.formula(sums[..., :n_columns])
        if ORDER not in label_schema:
            return found
        true, predicted, _ = np.split(sums[..., :n_columns], 3, axis=-1)
        order = np.asarray(label_schema[ORDER])
        return found | ordinal.formula(sums[..., n_columns:], true, predicted, order)

    def shares(self, label_schema: LabelSchema) -> Shares:
        """See Task."""
        k = len(label_schema["labels"])
        return classification.shares(k, 3 * k + (ordinal.N_COLUMNS if ORDER in label_schema else 0))


task = TextClassification()


def _refuse_labels_that_never_repeat(counts: dict[str, int]) -> None:
    n = sum(counts.values())
    if n >= 20 and len(counts) > n / 2:
        raise DataError(
            f"a label must repeat, and the {n} training rows have {len(counts)} different labels.",
            remedy="Name the right label column (`--column label=COLUMN`).",
        )
