"""What to do next, with the evidence for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    steps = source.metrics.get("next_steps")
    return {"steps": steps} if steps else None


section = Section("Three next steps", 930, _facts)
