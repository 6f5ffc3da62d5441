"""Rows in which the model is weak, found without being asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.metrics import METRICS
from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    entry = source.metrics.get("weak_slices")
    return None if entry is None else dict(entry)


def _sentences(facts: JsonObject) -> list[str]:
    if not facts["found"]:
        return []
    worst, metric = facts["found"][0], METRICS.get(facts["metric"])
    scores = (
        f"{metric.label} is {metric.shown(worst['value'])}, and {metric.shown(worst['rest'])} on the others"
    )
    return [f"weakest on the {worst['n']:,} rows {worst['name']}: {scores}"]


section = Section("Where it is weak", 90, _facts, _sentences)
