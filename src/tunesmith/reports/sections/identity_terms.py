"""Whether answers depend on the group of people that a text is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    found = source.metrics.get("identity_terms")
    return {"kinds": found} if found else None


def _sentences(facts: JsonObject) -> list[str]:
    return [entry["text"] for entry in facts["kinds"].values() if entry["texts"]["exchanges"]]


section = Section("Words for one group in another's place", 97, _facts, _sentences)
