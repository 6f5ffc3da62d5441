"""What would take the most errors away, and true labels that are probably wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    entry = source.metrics.get("errors")
    if entry is None or not entry["wrong"]:
        return None
    rows = [
        {**row, "gold": shown(row["gold"]), "proposed": shown(row["proposed"])} for row in _suspected(entry)
    ]
    return {**entry, "suspected_rows": rows} if entry["fixes"] or rows else None


def _suspected(entry: JsonObject) -> list[JsonObject]:
    return list((entry["suspected"] or {}).get("rows", ()))


def shown(gold: object) -> list[str]:
    """The labels of a true answer, each to be shown on its own."""
    labels = gold if isinstance(gold, list) else [gold]
    return [str(label) for label in labels] or ["none"]


section = Section("What would help most", 310, _facts)
