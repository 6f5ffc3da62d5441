"""A number for each text, or pair of texts: similarity, rating, urgency.

The loss is the squared error in units of the training targets' standard deviation, so one learning rate fits every
unit. The head starts at their mean and learns in that unit (`head_scale`). The model's output is the number
itself, in every tool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.errors import DataError
from tunesmith.metrics import Scores, Statistics, regression
from tunesmith.tasks import (
    Batch,
    Column,
    Encoded,
    EncodeOptions,
    EvalPredictions,
    LabelSchema,
    LinearProbe,
    LossOptions,
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
from tunesmith.tasks._values import are_quantities, number_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.types import Config, JsonObject, Tokenizer

_SCORE = ("score", "similarity_score", "similarity", "rating", "stars", "value", "label", "target", "urgency")
_MOST_POINTS = 1000
_SCALE_KEY = "tunesmith_target_scale"


def _head_scale(label_schema: LabelSchema) -> tuple[float, float]:
    """The mean and deviation of the training targets."""
    return label_schema["mean"], label_schema["deviation"]


def _targets(evaluated: EvalPredictions) -> NDArray[np.float64]:
    return evaluated.encoded.dense["labels"][:, 0].astype(np.float64)


class TextRegression(Task):
    """The task's object."""

    name = "text-regression"
    summary = "a number for each text, or pair of texts"
    aliases = ("regression",)
    columns = (texts.TEXT, texts.TEXT_PAIR, Column("score", "number", _SCORE, target=True))
    auto_class = "AutoModelForSequenceClassification"
    primary_metric = "pearson"
    pooling = Pooling()
    supported_options = ("augment",)
    probe = LinearProbe(_head_scale)
    baselines = ("mean", "tfidf_ridge")
    uncertainty = Uncertainty()
    sets = PredictionSets("interval", _targets, lambda evaluated: np.asarray(evaluated.outputs))
    pipeline = Pipeline("text-classification")
    display = displays.NUMBER

    def read(self, row: Values) -> JsonObject:
        """See Task."""
        example = texts.read_texts(row)
        return {**example, "score": number_of(row["score"], "score")} if "score" in row else example

    def resembles(self, columns: Values) -> bool:
        """See Task: fractions, or many different numbers of single texts; few whole numbers are labels."""
        return "text_pair" not in columns and are_quantities(columns["score"])

    def learn_label_schema(self, train: Values) -> LabelSchema:
        """See Task: the mean and deviation of the targets."""
        scores = np.array(train["score"], dtype=np.float64)
        if scores.std() == 0:
            raise DataError(
                f"there is nothing to predict: all {len(scores)} training rows have the score {scores[0]:g}.",
                remedy="Name the right column (`--column score=COLUMN`).",
            )
        return {"mean": float(scores.mean()), "deviation": float(scores.std())}

    def config(self, label_schema: LabelSchema) -> JsonObject:
        """See Task."""
        return {
            "num_labels": 1,
            "id2label": {0: "score"},
            "label2id": {"score": 0},
            "problem_type": "regression",
            _SCALE_KEY: [label_schema["mean"], label_schema["deviation"]],
        }

    def label_schema_of(self, config: Config) -> LabelSchema:
        """See Task."""
        mean, deviation = getattr(config, _SCALE_KEY, (0.0, 1.0))
        return {"mean": mean, "deviation": deviation}

    def encode(
        self, batch: Values, tokenizer: Tokenizer, options: EncodeOptions, label_schema: LabelSchema
    ) -> Encoded:
        """See Task; `labels` is [rows, 2]: the score, and the unit of the loss."""
        labels = None
        if texts.has_column(batch, "score"):
            scores = np.array(batch["score"], dtype=np.float32)
            labels = np.stack([scores, np.full_like(scores, label_schema["deviation"])], axis=1)
        return texts.encode_texts(batch, tokenizer, options, labels)

    def loss(self, outputs: torch.Tensor, batch: Batch, options: LossOptions) -> torch.Tensor:
        """See Task."""
        scores, unit = batch["labels"].to(outputs.dtype).unbind(-1)
        return ((outputs.squeeze(-1) - scores) / unit).square().sum()

    def decode(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> list[Prediction]:
        """See Task; the shape is that of a classification whose only label is `score`."""
        return [{"label": "score", "score": float(value)} for value in np.asarray(evaluated.outputs)[:, 0]]

    def is_correct(self, prediction: Prediction, gold: float) -> bool | None:
        """See Task: a number is near or far, not right or wrong."""
        return None

    def error_of(self, prediction: Prediction, gold: float) -> float:
        """See Task."""
        return abs(float(prediction["score"]) - float(gold))

    def details(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> JsonObject:
        """See Task: `scatter`, true and predicted numbers of at most 1000 rows."""
        scores, predicted = evaluated.encoded.dense["labels"][:, 0], np.asarray(evaluated.outputs)[:, 0]
        rows = np.linspace(0, len(scores) - 1, min(len(scores), _MOST_POINTS)).astype(np.int64)
        return {"scatter": {"true": scores[rows].tolist(), "predicted": predicted[rows].tolist()}}

    def statistics(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> Statistics:
        """See Task."""
        return regression.statistics(
            evaluated.encoded.dense["labels"][:, 0].astype(np.float64),
            np.asarray(evaluated.outputs)[:, 0].astype(np.float64),
        )

    def formula(self, sums: NDArray[np.float64], label_schema: LabelSchema) -> Scores:
        """See Task."""
        return regression.formula(sums)


task = TextRegression()
