"""Whether the scores of answers can be read as probabilities: the reliability diagram, before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.metrics import percent
from tunesmith.reports.charts import Series, reliability_diagram
from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_COARSE = 0.05
"""Noise floor above which agreement says little."""
_METHODS = {
    "temperature": "one temperature for all outputs of the head",
    "vector": "a factor and a shift for each output of the head",
}
_MEASURES = (
    (
        "ece",
        "expected calibration error",
        "mean distance of a score from the share of answers that are right",
    ),
    ("log_loss", "log loss", "how surprised the model is by the truth"),
    ("brier", "Brier score", "mean squared distance of the probabilities from the truth"),
)


def _facts(source: Source) -> JsonObject | None:
    found = source.metrics.get("calibration")
    if found is None:
        return None
    facts = {**found, "how": _METHODS.get(found["method"], "")}
    if not found["n"]:
        return {**facts, "chart": None, "rows": []}
    before, after = found["before"], found["after"]
    shown = (
        [Series("after calibration", after["bins"])] if facts["how"] else [Series("the model", after["bins"])]
    )
    if facts["how"]:
        shown.insert(0, Series("before", before["bins"]))
    rows = [
        {
            "name": name,
            "meaning": meaning,
            "is_share": key == "ece",
            "before": before[key],
            "after": after[key],
        }
        for key, name, meaning in _MEASURES
    ]
    return {**facts, "chart": reliability_diagram(shown), "rows": rows}


def _sentences(facts: JsonObject) -> list[str]:
    """In plain words how far a score is a probability."""
    if not facts["n"]:
        return []
    ece, after = facts["after"]["ece"], facts["after"]
    before = f" (before calibration, by {_points(facts['before']['ece']['value'])})" if facts["how"] else ""
    off = f"scores differ from the share of right answers by {_points(ece['value'])} on average{before}"
    if ece["value"] > ece["noise_floor"]:
        direction = "higher" if after["mean_score"] > after["right"] else "lower"
        return [
            f"{off}, more than chance explains: a score is mostly {direction} than the share that is right"
        ]
    if ece["noise_floor"] > _COARSE:
        return [f"{off}; {facts['n']:,} answers are too few to tell it from chance"]
    return [f"{off}, no more than chance explains: a score can be read as a probability"]


def _points(value: float) -> str:
    return f"{percent(value).removesuffix(' %')} points"


section = Section("Can its scores be trusted?", 100, _facts, _sentences)
