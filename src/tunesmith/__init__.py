"""tunesmith: fine-tune a pretrained language model on your own data, and know honestly how good it is.

Names are imported when they are first used, so that `import tunesmith` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunesmith._telemetry import switch_off_telemetry
from tunesmith._threads import share_the_cores

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tunesmith.api import evaluate, export, load, predict, train
    from tunesmith.recipe import Recipe

__all__ = ["Recipe", "__version__", "evaluate", "export", "load", "predict", "train"]

_HOMES = {"Recipe": "tunesmith.recipe"}


share_the_cores()
switch_off_telemetry()


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'tunesmith' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES.get(name, "tunesmith.api")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
