"""Texts that are unlike anything in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.metrics import percent
from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_NOTABLE = 3
"""Times as many rows out of scope as are expected, from which the summary says so."""
_FEWEST = 5


def _facts(source: Source) -> JsonObject | None:
    found: JsonObject | None = source.metrics.get("out_of_scope")
    return found


def _sentences(facts: JsonObject) -> list[str]:
    if facts["out"] < _FEWEST or facts["share"] < _NOTABLE * facts["expected"]:
        return []
    return [
        f"{percent(facts['share'])} of the rows are unlike the training texts, where {percent(facts['expected'])} "
        "would be usual: the model may not do as well on them"
    ]


section = Section("Texts out of scope", 130, _facts, _sentences)
