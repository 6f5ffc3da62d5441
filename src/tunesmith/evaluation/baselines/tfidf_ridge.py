"""Ridge regression on TF-IDF of words and pairs of words."""

from __future__ import annotations

from dataclasses import replace

from tunesmith.evaluation.baselines import Baseline, TrainingRows
from tunesmith.evaluation.baselines._tfidf import answer_from_tfidf
from tunesmith.tasks import EvalPredictions


def _answer(train: TrainingRows, evaluated: EvalPredictions) -> EvalPredictions:
    from sklearn.linear_model import Ridge

    return answer_from_tfidf(replace(train, labels=train.labels[:, 0]), evaluated, lambda: Ridge(alpha=1.0))


baseline = Baseline("TF-IDF + ridge regression", _answer)
