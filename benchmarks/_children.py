"""Measurements in processes of their own: each prints one JSON object as its last line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


class FailedError(Exception):
    """A measurement ended in an error; its last words."""


def measure(script: str, spec: Mapping[str, Any], *, cache: Path) -> dict[str, Any]:
    """Runs a script of this folder with a specification.

    Args:
        script: file name.
        spec: what it reads as its only argument.
        cache: our cache of encodings.

    Raises:
        FailedError: it ended in an error.
    """
    command = [sys.executable, str(HERE / script), json.dumps(spec)]
    done = subprocess.run(command, env=environment(cache), capture_output=True, text=True, check=False)
    if done.returncode:
        raise FailedError("\n".join(done.stderr.strip().splitlines()[-12:]))
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def environment(cache: Path) -> dict[str, str]:
    """Of every measurement: offline, with a cache that is ours alone, and with threads that wait as they do by
    themselves, unless the program itself has them do otherwise."""
    return {
        **{name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"},
        "HF_HUB_OFFLINE": "1",
        "TUNESMITH_CACHE": str(cache),
        "PYTHONWARNINGS": "ignore",
    }
