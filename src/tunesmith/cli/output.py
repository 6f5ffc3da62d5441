"""What the command line prints: tables, or one JSON object on demand.

Results go to standard output; progress goes to standard error (`tunesmith.progress`).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunesmith.progress import display

if TYPE_CHECKING:
    from tunesmith.run import Run
    from tunesmith.types import JsonObject

__all__ = [
    "display",
    "print_comparison",
    "print_findings",
    "print_json",
    "print_line",
    "print_metrics",
    "print_table",
]

_SHOWN_FIXES = 3


def print_json(value: object) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))  # noqa: T201


def print_line(text: str = "") -> None:
    """One line on standard output."""
    print(text)  # noqa: T201


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output, numbers to the right."""
    widths = [max(len(str(row[i])) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, ["─" * width for width in widths], *rows):
        cells = [
            str(cell).rjust(width) if _is_number(rows, i) else str(cell).ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print_line("  ".join(cells).rstrip())


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _is_number(rows: Sequence[Sequence[str]], column: int) -> bool:
    return bool(rows) and all(str(row[column])[:1].isdigit() or row[column] in ("", "–") for row in rows)


def print_metrics(metrics: JsonObject) -> None:
    """The table that a training and an evaluation end with."""
    from tunesmith.evaluation.result import remarks

    rows = [
        [split, name, _number(score["value"]), f"{_number(score['low'])} to {_number(score['high'])}"]
        for split, found in metrics["splits"].items()
        for name, score in found.items()
    ]
    print_table(["split", "metric", "value", "95 % interval" if _is_95(metrics) else "interval"], rows)
    name = metrics["primary"]["name"]
    if metrics.get("baselines"):
        print_line()
        result = ["this model", _number(metrics["primary"]["value"])]
        others = [[baseline, _number(scores[name])] for baseline, scores in metrics["baselines"].items()]
        print_table([f"{name} on {metrics['primary']['split']}", "value"], [*others, result])
    for sentence in remarks(metrics):
        print_line(f"\n{sentence}")


def print_comparison(found: JsonObject) -> None:
    """The table and the sentences that a comparison of runs ends with."""
    from tunesmith.reports import comparison_remarks, comparison_table

    print_table(*comparison_table(found))
    for sentence in comparison_remarks(found):
        print_line(f"\n{sentence}")


def print_findings(run: str, metrics: JsonObject) -> None:
    """What an evaluation found besides the scores: slices, what the sections of the report say, and fixes."""
    from tunesmith.metrics import METRICS
    from tunesmith.reports.sections import Source, summary
    from tunesmith.run import Run

    primary = METRICS.get(metrics["primary"]["name"])
    for column, found in metrics["slices"].items():
        rows = [
            [
                value,
                primary.shown(s["value"]),
                f"{primary.shown(s['low'])} to {primary.shown(s['high'])}",
                f"{s['n']:,}",
            ]
            for value, s in found["values"].items()
        ]
        print_line()
        print_table([column, primary.name, "interval", "rows"], rows)
    opened = Run(run)
    for sentence in summary(Source(opened, opened.manifest(), metrics, lambda: iter(()))):
        print_line(f"\n{sentence}")
    errors = metrics.get("errors", {})
    for fix in errors.get("fixes", ())[:_SHOWN_FIXES]:
        print_line(
            f"\nat most {fix['errors']:,} of {errors['wrong']:,} errors: {fix['text']} ({fix['evidence']})"
        )


def next_command(run: Run) -> str:
    """The command that predicts with a run: for a text, or a file where a row needs more than a text."""
    from tunesmith.tasks import TASKS

    task = TASKS.get(run.recipe().task)
    columns = {name for read in run.read_as() for name in read}
    inputs = [column for column in task.columns if not column.target and not column.together]
    needed = [c for c in inputs if c.required or (c.name in columns and c.kind == "text")]
    is_text = bool(task.text_column) and len(needed) <= 1
    return f"tunesmith predict {shlex.quote(str(run.path))} " + ('"a text"' if is_text else "--data FILE")


def _is_95(metrics: JsonObject) -> bool:
    return bool(metrics["primary"]["confidence"] == 0.95)
