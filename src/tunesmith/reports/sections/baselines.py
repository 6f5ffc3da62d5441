"""The result beside its baselines, as bars on one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.evaluation.baselines import BASELINES
from tunesmith.metrics import METRICS
from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    """The result and its baselines, weakest first; widths in percent of one scale."""
    primary, metric = source.primary, METRICS.get(source.primary["name"])
    scores = source.metrics.get("baselines", {})
    named = [(BASELINES.get(name).label, found[metric.name], False) for name, found in scores.items()]
    rows = [row for row in [*named, ("this model", primary["value"], True)] if row[1] is not None]
    if len(rows) < 2 or primary["value"] is None:
        return None
    full = 1.0 if metric.is_share else max(primary["high"], 1e-9, *(value for _, value, _ in rows))

    def width(value: float) -> float:
        return 100 * min(max(value, 0.0), full) / full

    left = width(primary["low"])
    bar = {"left": left, "span": width(primary["high"]) - left}
    shown = [
        {"name": name, "value": value, "is_result": is_result, "width": width(value), **bar}
        for name, value, is_result in rows
    ]
    return {"rows": sorted(shown, key=lambda row: row["value"], reverse=not metric.greater_is_better)}


section = Section("Was fine-tuning worth it?", 10, _facts)
