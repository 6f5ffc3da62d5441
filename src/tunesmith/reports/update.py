"""`update.html` and the lines of an update: what was decided, and on which evidence.

Every number is in `update.json`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from tunesmith.metrics import METRICS
from tunesmith.reports.charts import interval_chart
from tunesmith.reports.filters import gained, p_value
from tunesmith.reports.html import environment
from tunesmith.tasks import TASKS

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

DECISIONS = {
    "promoted": "The challenger is promoted",
    "proposed": "The challenger is better: it can be promoted",
    "refused": "The challenger is refused, and the champion stays",
    "failed": "The update failed, and the champion stays",
    "nothing_new": "There is nothing new to learn, and the champion stays",
}
_OUTCOMES = {
    "better": "better",
    "not_shown": "no difference shown",
    "worse": "worse",
    "too_few_rows": "too few rows",
}
_STATES = {
    "read": "read",
    "set_aside": "cannot be used",
    "known": "known already, or twice among the new rows",
    "leaking": "among the rows that the champion is scored on, or nearly: never learned",
    "between_groups": "of a group that is learned and scored already",
    "learned": "learned",
    "compared": "held out, to compare on",
}
_SHOWN_SLICES = 10
_NOTHING: JsonObject = {
    "challenger": None, "challengers": (), "findings": (), "merge": None, "left_out": 0, "disagreements": (),
}  # fmt: skip
"""What the record of an update without challengers lacks."""


def update_lines(found: JsonObject) -> Iterator[str]:
    """What was decided, and why, as lines of text.

    Args:
        found: content of `update.json`.
    """
    yield DECISIONS[found["decision"]]
    for reason in found["reasons"]:
        yield f"  {reason}"
    for challenger in found.get("challengers", ()):
        mark = ", chosen" if challenger["run"] == found["challenger"] else ""
        score = METRICS.get(found["metric"]).shown(challenger["validation"])
        if challenger["validation"] is not None:
            yield f"  from {challenger['from']}: {score} on validation rows{mark}"
    if found["new_labels"]:
        named = ", ".join(f"`{label}` ({n:,} rows)" for label, n in found["new_labels"].items())
        yield f"  new labels: {named}"


def update_page(found: JsonObject) -> str:
    """The page: one file that opens without a network."""
    found = {**_NOTHING, **found}
    metric = METRICS.get(found["metric"]) if "metric" in found else None
    tested = [it for it in _tested(found) if it is not None]
    facts: JsonObject = {
        "found": found,
        "title": PurePath(found["champion"]).name,
        "metric": metric,
        "decision": DECISIONS[found["decision"]],
        "is_better": found["decision"] in ("promoted", "proposed"),
        "rows": [(_STATES.get(name, name), n) for name, n in found["new_rows"].items()],
        "charts": [],
        "tests": [_row(it, found["metric"]) for it in tested],
        "shown_slices": _SHOWN_SLICES,
        "examples": [_example(one, found["task"]) for one in found.get("disagreements", ())],
    }
    if metric is not None and tested:
        chart = interval_chart([(it["name"], _gain(it)) for it in tested[:2]], metric)
        facts["charts"] = [replace(chart, title=f"{metric.label}: how much better the challenger is")]
    return environment().get_template("update.html.jinja").render(**facts).lstrip()


def _tested(found: JsonObject) -> list[JsonObject | None]:
    tests = found.get("tests", {})
    return [tests.get("new"), tests.get("old"), *tests.get("slices", ())]


def _gain(tested: JsonObject) -> JsonObject:
    """How much better the challenger is, as a score with its interval."""
    return {"value": tested["difference"], "low": tested["low"], "high": tested["high"]}


def _row(tested: JsonObject, metric: str) -> JsonObject:
    """A row of the table of tests, as people read it."""
    shown = METRICS.get(metric).shown
    return {
        "name": tested["name"],
        "rows": tested["rows"],
        "champion": shown(tested["champion"]),
        "challenger": shown(tested["challenger"]),
        "gained": gained(tested["difference"], metric),
        "interval": f"{gained(tested['low'], metric)} to {gained(tested['high'], metric)}",
        "p": p_value(tested["p_holm"]),
        "outcome": _OUTCOMES[tested["outcome"]],
    }


def _example(one: JsonObject, task_name: str) -> JsonObject:
    """A row that one of both has right and the other wrong."""
    display = TASKS.get(task_name).display
    if display is None:
        return {"row": one["champion"]["row"], "is_new": one["is_new"], "cells": []}
    shown = TASKS.get(task_name).shown
    cells = {model: display.cells(one[model], shown) for model in ("champion", "challenger")}
    found = [(title, cells["champion"][number]) for number, title in enumerate(display.titles[:-1])]
    last = len(display.titles) - 1
    found += [(f"{display.titles[last]}: {model}", each[last]) for model, each in cells.items()]
    return {"row": one["champion"]["row"], "is_new": one["is_new"], "cells": found}
