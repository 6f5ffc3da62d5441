"""Whether the model became worse at general text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    found: JsonObject | None = source.metrics.get("forgetting")
    return found


def _sentences(facts: JsonObject) -> list[str]:
    return [facts["text"]]


section = Section("General text before and after", 65, _facts, _sentences)
