"""What the model writes and what the base model writes, in numbers and side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.metrics import METRICS
from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_MANY = 0.95
"""A smaller share of texts that end by themselves is said in the summary."""


def _facts(source: Source) -> JsonObject | None:
    entry = source.metrics.get("writing")
    if entry is None:
        return None
    base = entry.get("base_model", {})
    measures = [
        {"name": name, "meaning": METRICS.get(name).meaning, "model": score, "base_model": base.get(name)}
        for name, score in entry["model"].items()
    ]
    return {
        "n": entry["n"],
        "measures": measures,
        "has_base": bool(base),
        "texts": entry["texts"],
    }


def _sentences(facts: JsonObject) -> list[str]:
    measures = {each["name"]: each["model"] for each in facts["measures"]}
    ends = measures["ends_by_itself"]
    if ends["value"] >= _MANY or "length_ratio" not in measures:  # a continuation need not end
        return []
    metric = METRICS.get("ends_by_itself")
    return [
        f"only {metric.shown(ends['value'])} of {facts['n']:,} texts end by themselves; the others stop at "
        "generate.max_new_tokens"
    ]


section = Section("What the model writes", 60, _facts, _sentences)
