"""The command line. It parses, calls the pipeline, and prints; nothing else is decided here."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType

from tunesmith.registry import Registry

VERBS: Registry[Callable[..., None]] = Registry("tunesmith.cli.verbs", "verb", FunctionType)
