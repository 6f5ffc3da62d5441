"""`report.html`: one file that opens without a network and can be sent to other people.

Every number in it is in the files of the run. Shares are percentages everywhere.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.evaluation.baselines import BASELINES
from tunesmith.evaluation.result import warnings
from tunesmith.metrics import METRICS, percent
from tunesmith.metrics.spans import ERROR_KINDS
from tunesmith.recipe import yaml_value
from tunesmith.reports.charts import learning_curves, scatter
from tunesmith.reports.sections import SECTIONS, Source
from tunesmith.reports.sources import named_sources
from tunesmith.reports.usage import usages
from tunesmith.run import Run, read_json, write_atomically
from tunesmith.tasks import TASKS, Task, best_metric

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from tunesmith.types import JsonObject

_SHOWN_ERRORS = 20
_SHOWN_CONFUSIONS = 30
_LARGEST_MATRIX = 24


def write_report(run: Run) -> None:
    """Writes `report.html` from the files of the run folder."""
    page = page_environment().get_template("report.html.jinja").render(**_facts(run))
    write_atomically(run.report_file, page.lstrip())


def page_environment() -> Environment:
    """What renders the templates of this folder, with the filters that they use."""
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
        meaning=lambda name: METRICS.get(name).meaning,
        lower_is_better=lambda name: not METRICS.get(name).greater_is_better,
        is_share=lambda name: METRICS.get(name).is_share,
        share=lambda value: "–" if value is None else percent(value),
        count=lambda n: f"{round(n):,}",
        code=_code,
        sentence=_sentence,
        duration=duration,
        value=yaml_value,
    )
    return environment


def duration(seconds: float) -> str:
    """Seconds for people: `2 min 40 s`."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _sentence(text: str) -> Markup:
    """A remark with a capital letter and a full stop."""
    end = "" if text.endswith((".", "!", "?")) else "."
    return _code(f"{text[:1].upper()}{text[1:]}{end}")


def _code(text: str) -> Markup:
    """What stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _facts(run: Run) -> JsonObject:
    manifest, metrics = run.manifest(), run.metrics
    task, details = TASKS.get(metrics["task"]), metrics["details"]
    truncation = read_json(run.data / "supervision.json")
    name, _ = best_metric(task, manifest["label_schema"])
    facts: JsonObject = {
        "title": run.path.name,
        "manifest": manifest,
        "metrics": metrics,
        "primary": metrics["primary"],
        "recipe": manifest["used"],
        "warnings": warnings(metrics),
        "trained_on": _trained_on(manifest, metrics),
        "compared": _compared(metrics),
        "charts": learning_curves(run.events(), METRICS.get(name), metrics["train"]["best_step"]),
        "scatter": [scatter(**details["scatter"])] if "scatter" in details else [],
        "classes": _classes(details),
        "confusion": _confusion(details),
        "entity_errors": [(k, what, details["entity_errors"][k]) for k, what in ERROR_KINDS.items()]
        if "entity_errors" in details
        else [],
        "examples": _shown(run, task, metrics["primary"]["split"]),
        "truncation": truncation,
        "truncated": _truncated(truncation),
        "is_whole": all(found["is_whole"] for found in truncation.values()),
        "usages": usages(run, task),
        "next_steps": metrics.get("next_steps", []),
        "sections": _sections(Source(run, manifest, metrics)),
    }
    return {**facts, "contents": _contents(facts)}


def _sections(source: Source) -> list[JsonObject]:
    """The sections of the folder `sections` that have something to show, in order."""
    found = []
    for name in SECTIONS.names():
        section = SECTIONS.get(name)
        if (facts := section.facts(source)) is not None:
            template = f"sections/{name}.html.jinja"
            found.append(
                {"id": name.replace("_", "-"), "title": section.title, "order": section.order, "facts": facts,
                 "template": template, "sentences": section.sentences(facts)}
            )  # fmt: skip
    return sorted(found, key=lambda it: (it["order"], it["id"]))


def _trained_on(manifest: JsonObject, metrics: JsonObject) -> str:
    """What it was trained on, how, and how long."""
    used, train = manifest["used"], metrics["train"]
    rows = f"{manifest['data']['rows']['train']:,} rows of {named_sources(used['data']['train'])}"
    if used["train"]["method"] == "probe":
        return (
            f"A linear head on the frozen model {used['model']}, trained on {rows} in "
            f"{duration(train['seconds'])}."
        )
    method = {"full": "all weights", "lora": "a LoRA adapter"}.get(
        used["train"]["method"], used["train"]["method"]
    )
    return f"{used['model']}, trained on {rows}: {method}, {train['steps']:,} steps, {duration(train['seconds'])}."


def _contents(facts: JsonObject) -> list[tuple[str, str]]:
    """The sections that there are, as the template has them."""
    slices = [(f"slice-{i}", f"By {column}") for i, column in enumerate(facts["metrics"]["slices"], 1)]
    sections = [
        ("baselines", "Was it worth it?", len(facts["compared"]) > 1),
        ("scores", "Scores", True),
        ("learning", "How it learned", facts["charts"]),
        ("scatter", "True and predicted", facts["scatter"]),
        ("confusion", "Confusion matrix", facts["confusion"]["matrix"]),
        ("mistakes", "Frequent mistakes", facts["confusion"]["pairs"]),
        ("entity-errors", "Errors of entities", facts["entity_errors"]),
        ("labels", "Scores by label", facts["classes"]["rows"]),
        ("examples", facts["examples"]["title"], facts["examples"]["rows"]),
        *((name, title, True) for name, title in slices),
        *((section["id"], section["title"], True) for section in facts["sections"]),
        ("data", "The data", True),
        ("use", "How to use it", True),
        ("recipe", "Recipe", True),
        ("next", "Next steps", facts["next_steps"]),
    ]
    return [(name, title) for name, title, is_there in sections if is_there]


def _compared(metrics: JsonObject) -> list[JsonObject]:
    """The result and its baselines, weakest first; widths in percent of one scale."""
    primary, metric = metrics["primary"], METRICS.get(metrics["primary"]["name"])
    values = {BASELINES.get(name).label: scores[metric.name] for name, scores in metrics["baselines"].items()}
    rows = [{"name": name, "value": value, "is_result": False} for name, value in values.items()]
    rows.append({"name": "this model", "value": primary["value"], "is_result": True})
    full = 1.0 if metric.is_share else max(*values.values(), primary["value"], primary["high"], 1e-9)

    def width(value: float) -> float:
        return 100 * min(max(value, 0.0), full) / full

    left = width(primary["low"])
    shown = [
        {**row, "width": width(row["value"]), "left": left, "span": width(primary["high"]) - left}
        for row in rows
    ]
    return sorted(shown, key=lambda row: row["value"], reverse=not metric.greater_is_better)


def _classes(details: JsonObject) -> JsonObject:
    """Scores by class, the weakest first; those without a score last."""
    table = details.get("per_class")
    if table is None:
        return {"rows": []}
    keys = [key for key in ("f1", "precision", "recall", "support", "train") if key in table]
    values = zip(table["labels"], *(table[key] for key in keys), strict=True)
    rows = [dict(zip(("label", *keys), row, strict=True)) for row in values]
    rows.sort(key=lambda row: (row["f1"] is None, row["f1"] or 0.0))
    return {"rows": rows, "counts": table.get("counts", "rows"), "with_train": "train" in table}


def _confusion(details: JsonObject) -> JsonObject:
    """The whole matrix if it fits on a page, and the pairs of labels that are confused most."""
    table = details.get("confusion")
    if table is None:
        return {"matrix": [], "pairs": []}
    labels, counts = table["labels"], table["counts"]
    pairs = [
        {"gold": labels[i], "predicted": labels[j], "count": n, "of": sum(row)}
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


def _shown(run: Run, task: Task, split: str) -> JsonObject:
    """Wrong answers, the worst first; where answers are neither right nor wrong, the furthest off."""
    display = task.display
    if display is None:
        return {"title": "", "rows": []}
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
        "legend": display.legend,
        "rows": [
            {"row": line["row"], "cells": display.cells(line, task.shown)} for line in chosen[:_SHOWN_ERRORS]
        ],
    }
