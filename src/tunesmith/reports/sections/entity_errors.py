"""Wrong entities by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.metrics.spans import ERROR_KINDS
from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    counts = source.metrics["details"].get("entity_errors")
    if counts is None:
        return None
    return {"kinds": [(kind, meaning, counts[kind]) for kind, meaning in ERROR_KINDS.items()]}


section = Section("Errors of entities by kind", 70, _facts)
