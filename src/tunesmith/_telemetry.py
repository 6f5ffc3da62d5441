"""No telemetry: what other libraries would send of their own accord is switched off where we use them.

Importing tunesmith changes nothing in the process. So it is done at every door: the command line, the functions of
the Python interface, and before the Hub or onnxruntime is imported. A library that the program imported earlier
has read its variables by then, so its own switch is set too.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from typing import Any

_SILENT = {
    # onnxruntime writes an id of the machine and contacts its vendor on import.
    "ORT_DISABLE_TELEMETRY": "1",
    # huggingface_hub tells the Hub which libraries are in use whenever something is loaded from there.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # mlflow tells its vendor which functions are called; DO_NOT_TRACK=1 does not stop it, as it asks for "true".
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # wandb reports its own errors to its vendor, also offline.
    "WANDB_ERROR_REPORTING": "false",
    # A convention of other libraries: https://consoledonottrack.com
    "DO_NOT_TRACK": "1",
}


def switch_off_telemetry() -> None:
    """Sets the variables of the environment that the libraries ask, whatever they were before.

    Warns:
        RuntimeWarning: the program imported onnxruntime earlier, which may have reported to its vendor by then.
    """
    was_silent = os.environ.get("ORT_DISABLE_TELEMETRY") == "1"
    os.environ.update(_SILENT)
    if "onnxruntime" in sys.modules and not was_silent:
        warnings.warn(
            "onnxruntime is imported already, and may have reported to its vendor then: set the variable "
            "ORT_DISABLE_TELEMETRY=1 before the program starts.",
            RuntimeWarning,
            stacklevel=3,
        )
    constants: Any = sys.modules.get("huggingface_hub.constants")
    if constants is not None:  # which asks this name whenever it sends something
        constants.HF_HUB_DISABLE_TELEMETRY = True
    client: Any = sys.modules.get("mlflow.telemetry.client")
    if client is not None:  # which began when it was imported
        client._set_telemetry_client(None)


def import_onnxruntime(part: str = "") -> Any:
    """The module `onnxruntime`, or a part of it (`.quantization`); it is imported only here.

    Raises:
        ImportError: it is not installed.
    """
    switch_off_telemetry()
    return importlib.import_module(f"onnxruntime{part}")


def import_huggingface_hub() -> Any:
    """The module `huggingface_hub`, which loads models from the Hub."""
    switch_off_telemetry()
    return importlib.import_module("huggingface_hub")


def import_datasets() -> Any:
    """The module `datasets`, which loads data sets from the Hub."""
    switch_off_telemetry()
    return importlib.import_module("datasets")


def import_tracker(name: str) -> Any:
    """The module of a tracker: `mlflow`, `trackio`, `wandb`; these are imported only here.

    Raises:
        ImportError: it is not installed.
    """
    switch_off_telemetry()
    return importlib.import_module(name)
