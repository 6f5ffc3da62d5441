"""Commands and code for this run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source
from tunesmith.reports.usage import usages

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject:
    return {"usages": usages(source.run, source.task)}


section = Section("How to use the model", 910, _facts)
