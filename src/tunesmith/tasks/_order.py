"""Labels that have an order, recognised by their names: `1` to `5`, `1 star` to `5 stars`, `low` to `high`.

Numbers from 0 on are as often the numbers of topics as degrees of something, so they are recognised only where the
recipe says so (`data.label_order`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_FEWEST = 3
_COUNTED = re.compile(r"(\d+)([\s_-]*)([^\W\d]*)")
_SCALES = (
    ("very negative", "negative", "neutral", "positive", "very positive"),
    ("strongly disagree", "disagree", "neutral", "agree", "strongly agree"),
    ("very low", "low", "medium", "high", "very high", "critical"),
    ("none", "mild", "moderate", "severe"),
    ("never", "rarely", "sometimes", "often", "always"),
    ("very easy", "easy", "medium", "hard", "very hard"),
    ("terrible", "bad", "poor", "fair", "average", "okay", "good", "very good", "great", "excellent"),
    ("bronze", "silver", "gold", "platinum"),
    ("a1", "a2", "b1", "b2", "c1", "c2"),
)


def order_of(labels: Sequence[str]) -> list[int] | None:
    """The position of each label in their order, from 0; None where the names show none.

    Args:
        labels: names of the labels.
    """
    if len(labels) < _FEWEST:
        return None
    return _by_count(labels) or _by_scale(labels)


def _by_count(labels: Sequence[str]) -> list[int] | None:
    """The order of labels that count the same thing from 1 on, without a gap."""
    found = [_COUNTED.fullmatch(label.strip()) for label in labels]
    if any(match is None for match in found):
        return None
    counts = [int(match[1]) for match in found if match is not None]
    things = {match[3].lower().removesuffix("s") for match in found if match is not None}
    if len(things) > 1 or sorted(counts) != list(range(1, len(labels) + 1)):
        return None
    return [count - 1 for count in counts]


def _by_scale(labels: Sequence[str]) -> list[int] | None:
    """The order of labels that are degrees of one scale."""
    plain = [re.sub(r"[\s_-]+", " ", label.strip().lower()) for label in labels]
    for scale in _SCALES:
        if len(set(plain)) == len(plain) and set(plain) <= set(scale):
            ranks = sorted(scale.index(label) for label in plain)
            return [ranks.index(scale.index(label)) for label in plain]
    return None
