"""Predicted numbers against true ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports import charts
from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    details = source.metrics["details"]
    return {"charts": [charts.scatter(**details["scatter"])]} if "scatter" in details else None


section = Section("True and predicted", 40, _facts)
