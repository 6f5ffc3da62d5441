"""How answers, files and pages are compared in the contract of a task."""

from __future__ import annotations

import html
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from tunesmith.types import Array, JsonObject

ALIKE = 1e-4
"""Relative and absolute tolerance for numbers that are computed twice in single precision."""


def lines_of(path: Path) -> list[JsonObject]:
    """The lines of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def values_of(outputs: object) -> Array:
    """The numbers in outputs, whether these are for sequences or for tokens."""
    return np.asarray(getattr(outputs, "values", outputs))


def as_json(answer: object) -> Any:
    """An answer after a round trip through JSON; arrays become lists."""
    return json.loads(json.dumps(answer, default=lambda array: np.asarray(array).tolist()))


def not_finite(value: object, path: str = "") -> list[str]:
    """The paths within a JSON value that hold an infinite number or NaN."""
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in not_finite(item, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for i, item in enumerate(value) for found in not_finite(item, f"{path}[{i}]")]
    return [path] if isinstance(value, float) and not math.isfinite(value) else []


def are_close(one: object, other: object) -> bool:
    """Whether two JSON values are equal, with numbers equal to four digits."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(are_close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(are_close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=ALIKE, abs_tol=ALIKE)
    return bool(one == other)


def by_ending(tensors: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    """The tensor of this name, or of this name after the body's prefix."""
    return next(tensor for known, tensor in tensors.items() if known == name or known.endswith(f".{name}"))


def visible_text(page: str) -> str:
    """The text of an HTML page that a reader sees."""
    without = re.sub(r"<(script|style|svg)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", " ", without))
