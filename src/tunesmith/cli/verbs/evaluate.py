"""`tunesmith evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer

from tunesmith.cli.arguments import COLUMN, DATA, FORCE, JSON, OUTPUT, RUN, parse_columns

EXAMPLES = (
    "tunesmith evaluate runs/reviews --data new.csv",
    "tunesmith evaluate runs/reviews --data new.csv --column label=stars --output scores.json",
    "tunesmith evaluate runs/reviews --data new.csv --output new.html",
    "tunesmith evaluate runs/reviews --data new.csv evaluate.groups=[dialect] evaluate.identity_terms=gender",
)


def verb(
    run: str = RUN,
    overrides: list[str] = typer.Argument(
        None,
        metavar="KEY=VALUE",
        help="Keys of `evaluate` for these rows, such as evaluate.groups=[dialect].",
    ),
    data: list[str] = typer.Option(
        ..., "--data", help="A file of rows with labels. Repeatable.", rich_help_panel=DATA
    ),
    column: list[str] = COLUMN,
    output: Optional[Path] = typer.Option(
        None,
        "--output",
        "-o",
        help="Also write them to this file: a report (.html), or the metrics (.json).",
        rich_help_panel=OUTPUT,
    ),
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Evaluate a run on other data, with confidence intervals."""
    from tunesmith import pipeline
    from tunesmith.cli.output import display, print_findings, print_json, print_metrics
    from tunesmith.run.locking import refuse_several_processes

    refuse_several_processes()
    columns = parse_columns(column) or None
    with display() as shown:
        metrics = pipeline.evaluate(
            run,
            data,
            columns=columns,
            output=output,
            overrides=overrides or [],
            force=force,
            listeners=[shown],
        )
    if as_json:
        print_json(metrics)
    else:
        print_metrics(metrics)
        print_findings(run, metrics)
