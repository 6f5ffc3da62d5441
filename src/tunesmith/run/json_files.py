"""JSON files of a run: strict numbers, and a readable error for a damaged file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tunesmith.errors import RunError
from tunesmith.run.files import write_atomically

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def write_json(path: Path, value: object) -> None:
    """Writes JSON atomically; a NaN or an infinity is a bug and raises ValueError."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")


def read_json(path: Path) -> JsonObject:
    """Reads a JSON object that a run wrote.

    Raises:
        RunError: the file is missing or not JSON.
    """
    try:
        return cast("JsonObject", json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise RunError(
            f"`{path}` cannot be read: {error}.", remedy="The run is damaged; train it again with `--force`."
        ) from None


def finite(value: float) -> float | None:
    """The number, or None in place of a NaN or an infinity, which JSON does not have."""
    return value if math.isfinite(value) else None
