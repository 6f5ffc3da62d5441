"""Rows and tokens of each split, what was truncated, and notes about the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source
from tunesmith.run import read_json

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    if "train" not in source.metrics:
        return None
    truncation = read_json(source.run.data / "supervision.json")
    return {
        "truncation": truncation,
        "truncated": _truncated(truncation),
        "is_whole": all(found["is_whole"] for found in truncation.values()),
    }


def _truncated(truncation: JsonObject) -> list[tuple[str, bool]]:
    """What was truncated, a sentence a split, and whether something is lost by it."""
    found = []
    for split, report in truncation.items():
        lost = [(gone, f"of {of:,} {what} are lost") for what, (gone, of) in report["lost"].items()]
        parts = [
            (report["rows_windowed"], "texts are read in windows"),
            (report["rows_cut"], "texts are cut"),
            *lost,
            (report["rows_without"], "rows have nothing left to learn from"),
        ]
        if said := [f"{n:,} {what}" for n, what in parts if n]:
            found.append((f"{split}: {', '.join(said)}.", any(n for n, _ in parts[1:])))
    return found


section = Section("The data", 900, _facts)
