"""No telemetry: what other libraries would send of their own accord is switched off before they are imported."""

from __future__ import annotations

import importlib
import os
from typing import Any

_SILENT = {
    # onnxruntime writes an id of the machine and looks its maker up as soon as it is imported.
    "ORT_DISABLE_TELEMETRY": "1",
    # huggingface_hub tells the Hub which libraries are in use whenever something is loaded from there.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # What other libraries ask, by agreement: https://consoledonottrack.com
    "DO_NOT_TRACK": "1",
}


def switch_off_telemetry() -> None:
    """Sets the variables of the environment that the libraries ask; whatever they were before."""
    os.environ.update(_SILENT)


def import_onnxruntime(part: str = "") -> Any:
    """The module `onnxruntime`, or a part of it: `.quantization`; imported here and nowhere else.

    Raises:
        ImportError: it is not installed.
    """
    switch_off_telemetry()
    return importlib.import_module(f"onnxruntime{part}")
