"""The first sentence of the document: hard to beat for news."""

from __future__ import annotations

from dataclasses import replace

from tunesmith import segmentation
from tunesmith.evaluation.baselines import Baseline, TrainingRows
from tunesmith.tasks import EvalPredictions


def _answer(train: TrainingRows, evaluated: EvalPredictions) -> EvalPredictions:
    documents = evaluated.columns[train.inputs[0]]
    return replace(evaluated, texts=[segmentation.first_sentence(text.strip()) for text in documents])


baseline = Baseline("the first sentence", _answer)
