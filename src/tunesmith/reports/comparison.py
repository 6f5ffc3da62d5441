"""`compare.html` and the table of a comparison: runs on the same rows, with paired tests and a chart.

Every number is in what `tunesmith compare --json` prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunesmith.metrics import METRICS
from tunesmith.recipe import yaml_value
from tunesmith.reports.charts import interval_chart
from tunesmith.reports.filters import count, duration, p_value
from tunesmith.reports.html import environment
from tunesmith.tasks import TASKS, Task

if TYPE_CHECKING:
    from tunesmith.tasks._answer_capabilities import Cell
    from tunesmith.types import JsonObject

_OUTCOMES = {
    "better": "worse than the best",
    "not_shown": "no difference shown",
    "too_few_rows": "too few rows",
}
_LONGEST_VALUE = 40


def comparison_table(found: JsonObject) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table, the best run first.

    Args:
        found: what `tunesmith.pipeline.comparing.compare` gave.
    """
    metric = METRICS.get(found["metric"])
    header = ["run", metric.label, f"{100 * found['confidence']:.3g} % interval", "against the best", "p (Holm)",
              "training", "parameters", "recipe"]  # fmt: skip
    against = {pair["second"]: pair for pair in found["pairs"] if pair["first"] == found["best"]}
    rows = []
    for run in found["runs"]:
        score, pair = run["scores"][metric.name], against.get(run["name"])
        rows.append([
            run["name"],
            metric.shown(score["value"]),
            f"{metric.shown(score['low'])} to {metric.shown(score['high'])}",
            _OUTCOMES[pair["outcome"]] if pair else "the best",
            p_value(pair["p_holm"]) if pair else "",
            "" if run["seconds"] is None else duration(run["seconds"]),
            "" if run["parameters"] is None else count(run["parameters"]),
            ", ".join(f"{key}={_short(value)}" for key, value in run["recipe"].items()),
        ])  # fmt: skip
    return header, rows


def comparison_remarks(found: JsonObject) -> list[str]:
    """What people must read beside the table."""
    rows, best = found["rows"], found["best"]
    grouped = f" in {rows['groups']:,} groups" if "groups" in rows else ""
    n_pairs = len(found["pairs"])
    corrected = f", corrected for {n_pairs} comparisons (Holm)" if n_pairs > 1 else ""
    said = [
        f"{rows['compared']:,} rows{grouped} that all runs answered; paired tests against the best, `{best}`"
        f"{corrected}",
        *(pair["text"] for pair in found["pairs"] if pair["first"] == best),
    ]
    if rows["left_out"]:
        said.append(f"{rows['left_out']:,} rows are left out: some run was trained on their texts, or nearly")
    if again := [run["name"] for run in found["runs"] if run["answered_again"]]:
        said.append(
            f"the models of older runs answered their rows again: {', '.join(f'`{name}`' for name in again)}"
        )
    return said


def comparison_page(found: JsonObject) -> str:
    """The page: one file that opens without a network."""
    metric, task = METRICS.get(found["metric"]), TASKS.get(found["task"])
    scores = [(run["name"], run["scores"][metric.name]) for run in found["runs"]]
    facts = {
        "found": found,
        "metric": metric,
        "remarks": comparison_remarks(found),
        "chart": interval_chart(scores, metric),
        "metrics": list(found["runs"][0]["scores"]),
        "keys": list(found["runs"][0]["recipe"]),
        "examples": [_example(lines, task) for lines in found["disagreements"]["shown"]],
        "legend": task.display.legend if task.display is not None else {},
    }
    return environment().get_template("comparison.html.jinja").render(**facts).lstrip()


def _example(lines: JsonObject, task: Task) -> JsonObject:
    """One row: what all runs have in common once, and the answer of each run."""
    display = task.display
    if display is None:
        return {"row": next(iter(lines.values()))["row"], "cells": []}
    cells = {name: display.cells(line, task.shown) for name, line in lines.items()}
    first = next(iter(cells.values()))
    shown: list[tuple[str, Cell]] = []
    for number, title in enumerate(display.titles):
        if _is_shared([each[number] for each in cells.values()]) and number < len(display.titles) - 1:
            shown.append((title, first[number]))
        else:
            shown += [(f"{title}: {name}", each[number]) for name, each in cells.items()]
    return {"row": next(iter(lines.values()))["row"], "cells": shown}


def _is_shared(cells: Sequence[Cell]) -> bool:
    """Whether the cells say the same, whatever is marked in them."""
    return len({tuple(text for text, _, _ in cell) for cell in cells}) == 1


def _short(value: object) -> str:
    text = yaml_value(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
