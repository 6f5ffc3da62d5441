"""Every metric with its interval and what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject:
    return {"scores": source.metrics["splits"][source.primary["split"]]}


section = Section("Scores", 20, _facts)
