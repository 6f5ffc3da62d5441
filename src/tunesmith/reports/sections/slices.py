"""The primary metric for each value of the columns that the user named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    slices = source.metrics["slices"]
    return {"slices": slices} if slices else None


section = Section("Slices that you named", 95, _facts)
