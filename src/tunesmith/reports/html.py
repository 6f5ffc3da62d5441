"""`report.html`: one file that opens without a network and can be sent to other people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.evaluation.baselines import BASELINES
from tunesmith.metrics import METRICS, percent
from tunesmith.recipe import yaml_value
from tunesmith.reports.charts import curves, scatter
from tunesmith.run import Run, write_atomically
from tunesmith.tasks import TASKS, Task, best_metric

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_SHOWN_ERRORS = 20
_SHOWN_CONFUSIONS = 15
_LARGEST_MATRIX = 24


def write_report(run: Run) -> None:
    """Writes `report.html` from the files of the run folder."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        score=lambda value, name: METRICS.get(name).shown(value),
        metric=lambda name: METRICS.get(name).label,
        duration=duration,
        value=yaml_value,
        percent=percent,
    )
    write_atomically(run.report_file, environment.get_template("report.html.jinja").render(**_facts(run)))


def duration(seconds: float) -> str:
    """Seconds for people: `2 min 40 s`."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _facts(run: Run) -> JsonObject:
    manifest, metrics = run.manifest(), run.metrics
    primary = metrics["primary"]
    task = TASKS.get(metrics["task"])
    supervision_file = run.data / "supervision.json"
    return {
        "title": run.path.name,
        "manifest": manifest,
        "metrics": metrics,
        "primary": primary,
        "recipe": manifest["used"],
        "compared": _compared(metrics),
        "chart": curves(
            run.events(), best_metric(task, manifest["label_schema"])[0], metrics["train"]["best_step"]
        ),
        "scatter": scatter(**metrics["details"]["scatter"]) if "scatter" in metrics["details"] else "",
        "classes": _classes(metrics["details"]),
        "confusion": _confusion(metrics["details"]),
        "examples": _shown(run, task, primary["split"]),
        "supervision": json.loads(supervision_file.read_text(encoding="utf-8")),
    }


def _compared(metrics: JsonObject) -> list[JsonObject]:
    """The result and its baselines, weakest first."""
    name = metrics["primary"]["name"]
    metric = METRICS.get(name)
    rows = [
        {"name": BASELINES.get(baseline).label, "value": scores[name], "is_result": False}
        for baseline, scores in metrics["baselines"].items()
    ]
    rows.append({"name": "this model", "value": metrics["primary"]["value"], "is_result": True})
    full = 1.0 if metric.is_share else max(max(row["value"] for row in rows), 1e-9)
    shown = [{**row, "width": 100 * max(row["value"], 0.0) / full} for row in rows]
    return sorted(shown, key=lambda row: row["value"], reverse=not metric.greater_is_better)


def _classes(details: JsonObject) -> list[JsonObject]:
    """Scores by class, the weakest first."""
    table = details.get("per_class")
    if table is None:
        return []
    keys = ("labels", "precision", "recall", "f1", "support")
    rows = [dict(zip(keys, row, strict=True)) for row in zip(*(table[key] for key in keys), strict=True)]
    return sorted(rows, key=lambda row: row["f1"])


def _confusion(details: JsonObject) -> JsonObject:
    """The whole matrix if it fits on a page, and the pairs of labels that are confused most."""
    table = details.get("confusion")
    if table is None:
        return {"matrix": [], "pairs": []}
    labels, counts = table["labels"], table["counts"]
    pairs = [
        {"gold": labels[i], "predicted": labels[j], "count": n, "share": n / max(sum(row), 1)}
        for i, row in enumerate(counts)
        for j, n in enumerate(row)
        if i != j and n
    ]
    rows = [
        {"label": labels[i], "cells": [(n, n / max(sum(row), 1), i == j) for j, n in enumerate(row)]}
        for i, row in enumerate(counts)
    ]
    return {
        "labels": labels,
        "matrix": rows if len(labels) <= _LARGEST_MATRIX else [],
        "pairs": sorted(pairs, key=lambda pair: -pair["count"])[:_SHOWN_CONFUSIONS],
    }


def _shown(run: Run, task: Task, split: str) -> JsonObject:
    """Wrong answers, the worst first; where answers are neither right nor wrong, the furthest off."""
    display = task.display
    if display is None:
        return {"rows": []}
    with (run.predictions / f"{split}.jsonl").open(encoding="utf-8") as handle:
        lines = [line for line in map(json.loads, handle) if line["correct"] is not True]
    # Rows whose text was not generated have nothing to show.
    judged = [line for line in lines if line["correct"] is False or display.ranks_unjudged]
    are_errors = bool(judged)
    chosen = judged or [line for line in lines if display.is_shown(line)]
    if are_errors:
        chosen = sorted(chosen, key=lambda line: -task.error_of(line["prediction"], line["gold"]))
    return {
        "title": "The worst errors" if are_errors else "Some answers",
        "are_errors": are_errors,
        "header": display.titles,
        "rows": [
            {"row": line["row"], "cells": display.cells(line, task.shown)} for line in chosen[:_SHOWN_ERRORS]
        ],
    }
