"""When the model should abstain: coverage against errors, and the promise that the recipe asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.evaluation.analyses.abstention import broken
from tunesmith.metrics import percent
from tunesmith.reports.charts import coverage_chart
from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    found = source.metrics.get("abstention")
    if found is None or not found["curve"]:
        return None
    whole = found["curve"][-1]["error"]
    return {**found, "whole": whole, "chart": coverage_chart(found)}


def _sentences(facts: JsonObject) -> list[str]:
    """The promise; without one, what the most useful of the usual ones would give, or that it does not hold."""
    if "text" in facts:
        return [facts["text"]]
    useful = [level for level in facts["levels"] if level["given"] and level["max_error"] < facts["whole"]]
    if not useful:
        return []
    level = max(useful, key=lambda level: (level["coverage"] >= 0.5, -level["max_error"]))
    if level.get("is_broken"):
        return [broken(level, facts["what"])]
    return [
        f"could answer {percent(level['coverage'])} of the rows at no more than {percent(level['max_error'])} "
        f"errors (`evaluate.max_error={level['max_error']:g}`)"
    ]


section = Section("When it should abstain", 110, _facts, _sentences)
