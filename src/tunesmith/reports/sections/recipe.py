"""Every key of the recipe with its value, the versions of libraries, and the time of each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject:
    return {"recipe": source.manifest["used"], "manifest": source.manifest}


section = Section("Recipe and machine", 920, _facts)
