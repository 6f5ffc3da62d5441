"""`tunesmith compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer

from tunesmith.cli.arguments import COLUMN, DATA, FORCE, JSON, OUTPUT, parse_columns

EXAMPLES = (
    "tunesmith compare runs/a runs/b",
    "tunesmith compare runs/a runs/b runs/c --output compare.html",
    "tunesmith compare runs/a runs/b --data new.csv",
)


def verb(
    runs: list[str] = typer.Argument(..., metavar="RUN RUN…", help="The run folders, two or more."),
    data: list[str] = typer.Option(
        [],
        "--data",
        help="A file of rows with labels, which every run answers; without it, the rows that the runs answered "
        "after training. Repeatable.",
        rich_help_panel=DATA,
    ),
    column: list[str] = COLUMN,
    output: Optional[Path] = typer.Option(
        None, "--output", "-o", help="Also write a page: compare.html.", rich_help_panel=OUTPUT
    ),
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Compare runs on the same rows, with paired tests.

    The best run is tested against each other one, with Holm's correction for all pairs. Where the runs have other
    test rows, the rows that they have in common are compared. `tunesmith list runs` shows what there is.
    """
    from tunesmith import pipeline
    from tunesmith.cli.arguments import refuse_existing
    from tunesmith.cli.output import display, print_comparison, print_json
    from tunesmith.reports import comparison_page
    from tunesmith.run import write_atomically
    from tunesmith.run.locking import refuse_several_processes

    refuse_several_processes()
    if output is not None:
        refuse_existing(output, force=force)
    with display() as shown:
        found = pipeline.compare(runs, data=data, columns=parse_columns(column) or None, listeners=[shown])
    if output is not None:
        write_atomically(output, comparison_page(found))
    if as_json:
        print_json(found)
    else:
        print_comparison(found)
