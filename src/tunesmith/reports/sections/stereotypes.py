"""Whether a language model prefers stereotypes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    found = source.metrics.get("stereotypes")
    return {"sources": found} if found else None


def _sentences(facts: JsonObject) -> list[str]:
    return [entry["text"] for entry in facts["sources"].values()]


section = Section("Stereotypes", 98, _facts, _sentences)
