"""Wrong answers, the worst first; where answers are neither right nor wrong, the furthest off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source
from tunesmith.reports.sections.errors import shown

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_SHOWN = 20


def _facts(source: Source) -> JsonObject | None:
    task, display = source.task, source.task.display
    if display is None:
        return None
    lines = [line for line in source.lines() if line["correct"] is not True]
    # Rows whose text was not generated have nothing to show.
    judged = [line for line in lines if line["correct"] is False or display.ranks_unjudged]
    chosen = judged or [line for line in lines if display.is_shown(line)]
    if judged:
        chosen = sorted(chosen, key=lambda line: -task.error_of(line["prediction"], line["gold"]))
    if not chosen:
        return None
    nearest = _nearest(source.metrics)
    return {
        "title": "The worst errors" if judged else "Some answers",
        "are_errors": bool(judged),
        "wrong_rows": source.metrics.get("wrong_rows"),
        "header": display.titles,
        "legend": display.legend,
        "rows": [
            {
                "row": line["row"],
                "cells": display.cells(line, task.shown),
                "nearest": nearest.get(line["row"], ()),
            }
            for line in chosen[:_SHOWN]
        ],
    }


def _nearest(metrics: JsonObject) -> dict[str, list[JsonObject]]:
    """The nearest training rows of the worst errors, by the names of their rows."""
    worst = metrics.get("errors", {}).get("worst", ())
    return {
        each["row"]: [{**near, "gold": shown(near["gold"])} for near in each["nearest"]] for each in worst
    }


section = Section("The worst errors", 300, _facts)
