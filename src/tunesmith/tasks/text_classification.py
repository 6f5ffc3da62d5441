"""One label a text, or a pair of texts: sentiment, intent, topic.

Cross-entropy over the classes; the answer is the most probable label with its probability, as the Hub's
`TextClassificationOutput`. Label names keep their spelling; their order is numeric where all are whole
numbers, else alphabetic, so that it does not depend on the order of the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tunesmith.errors import DataError, did_you_mean
from tunesmith.metrics import Scores, Statistics, classification, total
from tunesmith.tasks import Column, Prediction, RowError, Targets, TextOptions, Values

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_TEXT = ("text", "sentence", "sentence1", "premise", "question1", "text1", "review", "content", "message")
_MORE_TEXT = ("body", "comment", "tweet", "utterance", "document", "query", "question", "description")
_PAIR = ("text_pair", "sentence2", "hypothesis", "question2", "text2")
_LABEL = ("label", "labels", "category", "intent", "class", "target", "sentiment", "emotion", "topic")
_MORE_LABEL = ("stars", "rating", "tag", "label_text", "label_name")


class TextClassification:
    """The task's object; it holds no state."""

    name = "text-classification"
    summary = "one label for each text, or pair of texts"
    columns = (
        Column("text", "text", _TEXT + _MORE_TEXT),
        Column("text_pair", "text", _PAIR, required=False),
        Column("label", "category", _LABEL + _MORE_LABEL, target=True),
    )
    auto_class = "AutoModelForSequenceClassification"
    primary_metric = "accuracy"
    greater_is_better = True
    probe: Literal["logistic_regression"] | None = "logistic_regression"
    baselines = ("majority", "tfidf_logistic_regression")

    def read(self, row: Values) -> dict[str, Any]:
        """See Task."""
        example: dict[str, Any] = {"text": _text(row["text"], "text")}
        if "text_pair" in row:
            example["text_pair"] = _text(row["text_pair"], "text_pair")
        if "label" in row:
            example["label"] = _label(row["label"])
        return example

    def learn_targets(self, train: Values) -> Targets:
        """See Task."""
        counts: dict[str, int] = {}
        for label in train["label"]:
            counts[label] = counts.get(label, 0) + 1
        _refuse_unfit(counts)
        return {"labels": sorted(counts, key=_label_order(counts))}

    def check_targets(self, row: Values, targets: Targets) -> None:
        """See Task."""
        if "label" in row and row["label"] not in targets["labels"]:
            known = did_you_mean(row["label"], targets["labels"])
            raise RowError(f"label `{row['label']}` does not occur in the training rows. {known}")

    def config(self, targets: Targets) -> dict[str, Any]:
        """See Task."""
        labels = targets["labels"]
        return {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: i for i, label in enumerate(labels)},
            "problem_type": "single_label_classification",
        }

    def targets_of(self, config: Any) -> Targets:
        """See Task."""
        return {"labels": [config.id2label[i] for i in range(config.num_labels)]}

    def encode(self, batch: Values, tokenizer: Any, options: TextOptions) -> dict[str, list[Any]]:
        """See Task."""
        encoded = tokenizer(
            batch["text"],
            batch.get("text_pair"),
            truncation=options.max_length is not None,
            max_length=options.max_length,
            return_attention_mask=False,
            return_token_type_ids="text_pair" in batch and "token_type_ids" in tokenizer.model_input_names,
            verbose=False,
        )
        return dict(encoded)

    def label_array(self, train: Values, targets: Targets) -> NDArray[np.int64]:
        """See Task."""
        ids = {label: i for i, label in enumerate(targets["labels"])}
        return np.array([ids[label] for label in train["label"]], dtype=np.int64)

    def items(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """See Task."""
        return np.ones(len(labels), dtype=np.int64)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See Task."""
        from torch.nn import functional as F

        precise = logits.float() if logits.dtype.itemsize < 4 else logits
        return F.cross_entropy(precise, labels, reduction="sum")

    def decode(self, logits: NDArray[np.float32], targets: Targets) -> list[Prediction]:
        """See Task; `scores` holds every label's probability, in the labels' order."""
        probabilities = softmax(logits)
        best = probabilities.argmax(-1)
        labels = targets["labels"]
        return [
            {"label": labels[i], "score": float(row[i]), "scores": row}
            for i, row in zip(best, probabilities, strict=True)
        ]

    def gold(self, labels: NDArray[np.int64], targets: Targets) -> list[Any]:
        """See Task."""
        return [targets["labels"][i] for i in labels]

    def is_correct(self, prediction: Prediction, gold: Any) -> bool:
        """See Task."""
        return bool(prediction["label"] == gold)

    def details(
        self, logits: NDArray[np.float32], labels: NDArray[np.int64], targets: Targets
    ) -> dict[str, Any]:
        """See Task: `per_class`, and `confusion` [true][predicted]."""
        names, predicted = targets["labels"], logits.argmax(-1)
        k = len(names)
        sums = total(classification.statistics(labels, predicted, k))
        table = {name: values.tolist() for name, values in classification.per_class(sums).items()}
        counts = np.bincount(labels * k + predicted, minlength=k * k).reshape(k, k)
        return {
            "per_class": {"labels": names, **table},
            "confusion": {"labels": names, "counts": counts.tolist()},
        }

    def statistics(
        self, logits: NDArray[np.float32], labels: NDArray[np.int64], targets: Targets
    ) -> Statistics:
        """See Task."""
        return classification.statistics(labels, logits.argmax(-1), len(targets["labels"]))

    def formula(self, sums: NDArray[np.float64], targets: Targets) -> Scores:
        """See Task."""
        return classification.formula(sums)


task = TextClassification()


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities [rows, k] of logits [rows, k]."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities: NDArray[np.float32] = exponentials / exponentials.sum(-1, keepdims=True)
    return probabilities


def _text(value: Any, column: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise RowError(f"no {column}.")
    if not isinstance(value, str):
        raise RowError(f"{column} is {type(value).__name__} `{value}`, not text.")
    if not value.strip():
        raise RowError(f"{column} is empty.")
    _refuse_surrogates(value, column)
    if value.strip().lower() == "nan":
        raise RowError(f"{column} is `{value.strip()}`, which is what a missing value was exported as.")
    return value


def _label(value: Any) -> str:
    """The label's name: text as it stands, a whole number without a point."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise RowError("no label.")
    if isinstance(value, float) and not value.is_integer():
        raise RowError(f"label {value} is not a whole number; to predict a quantity use `text-regression`.")
    if isinstance(value, (list, dict)):
        raise RowError(f"label is a {type(value).__name__}; several labels are `multi-label-classification`.")
    name = str(int(value)) if isinstance(value, float) else str(value)
    if not name.strip() or name.strip().lower() == "nan":
        raise RowError(f"no label (`{name}`)." if name.strip() else "label is empty.")
    _refuse_surrogates(name, "label")
    return name


def _refuse_surrogates(value: str, column: str) -> None:
    """Bytes that are not UTF-8, and lone surrogates of JSON: no tokenizer and no file can take them."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RowError(f"{column} is not UTF-8.") from None


def _label_order(labels: Sequence[str] | dict[str, int]) -> Any:
    def whole(label: str) -> bool:
        return label.lstrip("-").isdecimal()

    return (lambda label: (int(label), label)) if all(whole(label) for label in labels) else None


def _refuse_unfit(counts: dict[str, int]) -> None:
    n = sum(counts.values())
    if len(counts) == 1:
        raise DataError(
            f"a classifier needs two labels or more, and all {n} training rows have `{next(iter(counts))}`.",
            remedy="Name the right label column (`--column label=COLUMN`), or add rows of other labels.",
        )
    if n >= 20 and len(counts) > n / 2:
        raise DataError(
            f"a label must repeat, and {len(counts)} of {n} training rows have a label of their own.",
            remedy="Name the right label column (`--column label=COLUMN`).",
        )
