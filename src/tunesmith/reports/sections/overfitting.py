"""The score of each split, and whether training rows are answered better than new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    entry = source.metrics.get("overfitting")
    if entry is None:
        return None
    return {**entry, "between_validation_and_test": source.metrics.get("validation_gap", {}).get("text", "")}


section = Section("Training rows against new ones", 35, _facts)
