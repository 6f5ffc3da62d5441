"""Whether groups of people are treated alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    found = dict(source.metrics.get("groups") or {})
    for name, entry in (source.metrics.get("identity_terms") or {}).items():
        if entry["mentions"] is not None:
            found[f"texts that mention {name}"] = entry["mentions"]
    return {"columns": found} if found else None


def _sentences(facts: JsonObject) -> list[str]:
    shown = [
        (column, entry) for column, entry in facts["columns"].items() if (entry["gap"] or {}).get("is_shown")
    ]
    return [f"by {column}, {entry['text']}" for column, entry in shown]


section = Section("Groups of people", 96, _facts, _sentences)
