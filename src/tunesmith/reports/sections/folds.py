"""Cross-validation: the score of each fold, and of all their rows together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    found: JsonObject | None = source.metrics.get("folds")
    return found


section = Section("Cross-validation", 14, _facts)
