"""What a continued classifier still knows of the task before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    found: JsonObject | None = source.metrics.get("previous_task")
    return found


def _sentences(facts: JsonObject) -> list[str]:
    return [facts["text"]]


section = Section("The previous task, before and after", 67, _facts, _sentences)
