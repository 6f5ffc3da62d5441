"""The Python interface: `tunesmith.train(...)`, `tunesmith.load(run)`, and a function for each other verb.

recipes   what a caller gives becomes a recipe
training  `train`
checking  `check`
comparing `compare`
tuning    `tune`
suggesting `suggest_models`
labelling `label`
updating  `update`
using     `load`, `predict`, `embed`, `evaluate`, `export` of a run
sharing   `push`, `pull`
serving   `serve`
promoting `promote`, `rollback`, `promotions`
erasing   `forget`
monitoring `monitor`
run       `Run`, as `train` returns it: its metrics, its report, its predictions
shown     how metrics and reports are shown in a terminal and in a notebook
"""

from tunesmith.api.checking import CheckResult, check
from tunesmith.api.comparing import Comparison, compare
from tunesmith.api.erasing import forget
from tunesmith.api.labelling import label
from tunesmith.api.monitoring import MonitorResult, monitor
from tunesmith.api.promoting import promote, promotions, rollback
from tunesmith.api.recipes import build_recipe
from tunesmith.api.run import Run
from tunesmith.api.serving import serve
from tunesmith.api.sharing import pull, push
from tunesmith.api.suggesting import ModelSuggestions, suggest_models
from tunesmith.api.training import train
from tunesmith.api.tuning import TuneResult, tune
from tunesmith.api.updating import Update, update
from tunesmith.api.using import embed, evaluate, export, load, predict

__all__ = [
    "CheckResult",
    "Comparison",
    "ModelSuggestions",
    "MonitorResult",
    "Run",
    "TuneResult",
    "Update",
    "build_recipe",
    "check",
    "compare",
    "embed",
    "evaluate",
    "export",
    "forget",
    "label",
    "load",
    "monitor",
    "predict",
    "promote",
    "promotions",
    "pull",
    "push",
    "rollback",
    "serve",
    "suggest_models",
    "train",
    "tune",
    "update",
]
