"""A training as a sequence of phases, one file each; `train` says what comes after what.

A phase takes what earlier phases made and gives a frozen dataclass; no object is written to by several phases.

    Recipe → prepare → PreparedData → open_model → OpenedModel → encode → EncodedData → plan → TrainingPlan
           → fit → FittedModel → save → SavedModel → score → metrics → report
"""

from tunesmith.pipeline.checking import CheckReport, check
from tunesmith.pipeline.comparing import compare
from tunesmith.pipeline.evaluating import evaluate
from tunesmith.pipeline.labelling import label
from tunesmith.pipeline.monitoring import monitor
from tunesmith.pipeline.suggesting import describe_model, suggest_models
from tunesmith.pipeline.training import as_fitted, train

__all__ = [
    "CheckReport",
    "as_fitted",
    "check",
    "compare",
    "describe_model",
    "evaluate",
    "label",
    "monitor",
    "suggest_models",
    "train",
]
