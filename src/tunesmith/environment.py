"""The machine and the versions: for `tunesmith env`, and for the manifest of every run."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.data.personal import find_personal
from tunesmith.masking import MASK, masked_argument

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_PACKAGES = (
    "tunesmith", "torch", "transformers", "tokenizers", "datasets", "accelerate", "safetensors",
    "huggingface-hub", "peft", "scikit-learn", "sacrebleu", "numpy", "pydantic",
)  # fmt: skip

_SECRET_OPTION = re.compile(
    r"(?:^|[-_.])(?:key|token|secret|password|passwd|passphrase|pwd|credentials?|auth)$", re.IGNORECASE
)

DECISIVE_PACKAGES = (
    "tunesmith", "torch", "transformers", "tokenizers", "numpy", "safetensors", "peft", "accelerate", "datasets",
    "scikit-learn",
)  # fmt: skip
"""Packages of which another version may give other weights for the same recipe."""


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide the result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> JsonObject:
    """Processor, threads, memory, accelerators."""
    import psutil
    import torch

    from tunesmith.acceleration.bf16 import bf16_is_faster

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "device": torch.cuda.get_device_name(0) if device == "cuda" else "cpu",
        "bf16": bf16_is_faster(device),
    }


def describe_environment() -> JsonObject:
    """The facts of command, versions and machine for a manifest, without names of user, host or network."""
    return {
        "command": shlex.join([_program(), *masked_arguments(sys.argv[1:])]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": machine(),
        "git_commit": _git_commit(),
    }


def masked_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments of a program without secrets: passwords of URLs, keys that look like keys, options for them.

    Args:
        arguments: arguments, of tunesmith or of a script that uses it.
    """
    found, is_secret = [], False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if is_secret and not argument.startswith("-"):
            found.append(MASK)
        elif equals and value and _SECRET_OPTION.search(name):
            found.append(f"{name}={MASK}")
        else:
            found.append(_without_keys(masked_argument(argument)))
        is_secret = argument.startswith("-") and not equals and bool(_SECRET_OPTION.search(argument))
    return found


def _without_keys(text: str) -> str:
    for one in reversed([it for it in find_personal(text) if it.kind == "secret"]):
        text = f"{text[: one.start]}{MASK}{text[one.end :]}"
    return text


def _program() -> str:
    """The name of the program: `tunesmith`, or a script that uses the package."""
    name = Path(sys.argv[0]).name
    return "tunesmith" if name == "__main__.py" else name


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as handle:
            names = [line.partition(":")[2].strip() for line in handle if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"


def _git_commit() -> str | None:
    """The git commit of the working folder, which usually holds recipe and data."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
