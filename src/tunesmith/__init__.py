"""tunesmith: fine-tune a pretrained language model on your own data, and know honestly how good it is.

Names are imported when they are first used, so that `import tunesmith` costs nothing. It changes nothing in the
process either; what makes a process faster is set by `tunesmith.tune_process()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tunesmith.api import (
        CheckResult,
        Comparison,
        ModelSuggestions,
        MonitorResult,
        Run,
        TuneResult,
        Update,
        check,
        compare,
        embed,
        evaluate,
        export,
        forget,
        label,
        load,
        monitor,
        predict,
        promote,
        promotions,
        pull,
        push,
        rollback,
        serve,
        suggest_models,
        train,
        tune,
        update,
    )
    from tunesmith.errors import (
        CheckBlockedError,
        DataError,
        InterruptedRunError,
        ModelError,
        NonFiniteError,
        OtherProcessError,
        PluginError,
        RecipeError,
        RunError,
        TunesmithError,
        UnknownNameError,
        UserError,
    )
    from tunesmith.inference.predictor import Predictor
    from tunesmith.process import tune_process
    from tunesmith.recipe import Recipe
    from tunesmith.tasks import RowError

__all__ = [
    "CheckBlockedError", "CheckResult", "Comparison", "DataError", "InterruptedRunError", "ModelError",
    "ModelSuggestions", "MonitorResult", "NonFiniteError", "OtherProcessError", "PluginError", "Predictor",
    "Recipe", "RecipeError", "RowError", "Run", "RunError", "TuneResult", "TunesmithError",
    "UnknownNameError", "Update", "UserError", "__version__", "check", "compare", "embed", "evaluate",
    "export", "forget", "label", "load", "monitor", "predict", "promote", "promotions", "pull", "push",
    "rollback", "serve", "suggest_models", "train", "tune", "tune_process", "update",
]  # fmt: skip

_HOMES = {
    **dict.fromkeys((name for name in __all__ if name.endswith("Error")), "tunesmith.errors"),
    **dict.fromkeys(
        (
            "CheckResult",
            "Comparison",
            "ModelSuggestions",
            "MonitorResult",
            "Run",
            "TuneResult",
            "Update",
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
        ),
        "tunesmith.api",
    ),
    "Predictor": "tunesmith.inference.predictor",
    "Recipe": "tunesmith.recipe",
    "RowError": "tunesmith.tasks",
    "tune_process": "tunesmith.process",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tunesmith' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
