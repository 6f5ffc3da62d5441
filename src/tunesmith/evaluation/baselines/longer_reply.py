"""Prefers the longer of two replies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tunesmith.evaluation.baselines import Baseline, TrainingRows
from tunesmith.tasks import EvalPredictions


def _answer(train: TrainingRows, evaluated: EvalPredictions) -> EvalPredictions:
    chosen, rejected = (
        evaluated.encoded.ragged[name].lengths for name in ("input_ids", "rejected_input_ids")
    )
    lengths = np.stack([chosen, rejected], axis=1).astype(np.float32)
    without = {name: values for name, values in evaluated.encoded.dense.items() if name != "reference"}
    return replace(evaluated, outputs=lengths, encoded=replace(evaluated.encoded, dense=without))


baseline = Baseline("always the longer reply", _answer, short="the longer reply")
