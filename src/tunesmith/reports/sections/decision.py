"""Which label is answered where some are rare: what offsets gain in macro F1, and cost in accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.metrics import METRICS
from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    found = source.metrics.get("decision")
    if found is None:
        return None
    fitted = found["fitted"]
    return {
        **found,
        "rows": [
            {"name": name, "way": way, **tried[name]}
            for way, tried in fitted["tried"].items()
            for name in tried
        ],
        "scored": [{"name": name, **of} for name, of in found.get("gain", {}).items()],
        "offsets": sorted(fitted.get("offsets", {}).items(), key=lambda item: -item[1]),
    }


def _sentences(facts: JsonObject) -> list[str]:
    if "gain" not in facts:
        return []
    changes = [
        f"{METRICS.get(name).label} {100 * of['difference']:+.1f} points ({100 * of['low']:.1f} to "
        f"{100 * of['high']:.1f})"
        for name, of in facts["gain"].items()
    ]
    return [
        f"rare labels are favoured when an answer is chosen, not in its probability: {', '.join(changes)} on the "
        f"{facts['split']} rows, against the most probable label"
    ]


section = Section("How the answer is chosen", 105, _facts, _sentences)
