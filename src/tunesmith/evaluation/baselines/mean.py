"""Always the mean of the training rows."""

from __future__ import annotations

import numpy as np

from tunesmith.evaluation.baselines import Baseline, TrainingRows, with_logits
from tunesmith.tasks import EvalPredictions


def _answer(train: TrainingRows, evaluated: EvalPredictions) -> EvalPredictions:
    return with_logits(evaluated, np.array([np.asarray(train.labels, dtype=np.float64)[:, 0].mean()]))


baseline = Baseline("always the mean", _answer, short="the mean of the training rows")
