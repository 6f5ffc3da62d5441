"""The pairs of labels that are confused most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_SHOWN = 30


def _facts(source: Source) -> JsonObject | None:
    table = source.metrics["details"].get("confusion")
    if table is None:
        return None
    labels = table["labels"]
    pairs = [
        {"gold": labels[i], "predicted": labels[j], "count": n, "of": sum(row)}
        for i, row in enumerate(table["counts"])
        for j, n in enumerate(row)
        if i != j and n
    ]
    return {"pairs": sorted(pairs, key=lambda pair: -pair["count"])[:_SHOWN]} if pairs else None


section = Section("The most frequent mistakes", 60, _facts)
