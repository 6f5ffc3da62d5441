"""Prediction sets: how large they are, and how often they hold the true answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    found: JsonObject | None = source.metrics.get("prediction_sets")
    return found


section = Section("Prediction sets", 120, _facts)
