"""tunesmith: fine-tune a pretrained language model on your own data, and know honestly how good it is.

Names are imported when they are first used, so that `import tunesmith` costs nothing. It changes nothing in the
process either; what makes a process faster is set by `tunesmith.tune_process()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tunesmith.api import evaluate, export, load, predict, train
    from tunesmith.process import tune_process
    from tunesmith.recipe import Recipe

__all__ = ["Recipe", "__version__", "evaluate", "export", "load", "predict", "train", "tune_process"]

_HOMES = {"Recipe": "tunesmith.recipe", "tune_process": "tunesmith.process"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'tunesmith' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES.get(name, "tunesmith.api")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
