"""Durations as people write them: `20m`, `1h30m`, `7d`."""

from __future__ import annotations

import math
import re

from tunesmith.errors import RecipeError

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds_in(text: str, *, what: str, remedy: str) -> float:
    """The seconds of `20m`, `1h30m`, `90s` or `7d`; a number alone is seconds.

    Args:
        text: the duration.
        what: what it is, for the message.
        remedy: what the user can do.

    Raises:
        RecipeError: it is none of these, or zero.
    """
    written = text.strip().lower()
    parts = _PART.findall(written)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not parts or _PART.sub("", written).strip():
        try:
            seconds = float(written)
        except ValueError:
            seconds = math.nan
    if not 0 < seconds < math.inf:
        raise RecipeError(
            f"{what} must be above zero and like `20m`, `1h30m`, `90s` or `7d`, got `{text}`.", remedy=remedy
        )
    return seconds
