"""Every key of the recipe, what a program replaced, the versions of libraries, and the time of each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.hooks import in_words
from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject:
    hooks = in_words(source.manifest.get("hooks", {}))
    soup = source.manifest.get("soup", {})
    kept = soup if soup.get("kept") else None
    return {"recipe": source.manifest["used"], "hooks": hooks, "soup": kept, "manifest": source.manifest}


section = Section("Recipe and machine", 920, _facts)
