"""`tunesmith monitor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from tunesmith.cli.arguments import COLUMN, DATA, FORCE, JSON, OUTPUT, RUN, parse_columns

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

EXAMPLES = (
    "tunesmith monitor runs/reviews --data new.csv",
    "tunesmith monitor runs/reviews --log runs/reviews-log --output monitor.html",
    "tunesmith monitor runs/reviews --log runs/reviews-log --last 1 --metrics /var/lib/node/tunesmith.prom",
)
_ALARM = 4
_TOLD = "Notify"


def verb(
    run: str = RUN,
    data: list[str] = typer.Option(
        [],
        "--data",
        help="A file of rows in the order of time; labels are read where it has some. Repeatable.",
        rich_help_panel=DATA,
    ),
    log: Optional[str] = typer.Option(
        None,
        "--log",
        help="A prediction log instead: its folder, or the URL of its PostgreSQL database.",
        rich_help_panel=DATA,
    ),
    served_as: Optional[str] = typer.Option(
        None,
        "--served-as",
        metavar="NAME",
        help="The name of the run in the log. By default that of its folder.",
        rich_help_panel=DATA,
    ),
    column: list[str] = COLUMN,
    window: int = typer.Option(500, "--window", min=50, help="Rows of a window.", rich_help_panel=DATA),
    last: Optional[int] = typer.Option(
        None,
        "--last",
        min=1,
        help="Only measure the newest N windows, such as those since the last time.",
        rich_help_panel=DATA,
    ),
    alpha: float = typer.Option(
        0.05, "--alpha", help="The probability of a false alarm in 30 windows, over all statistics."
    ),
    output: Optional[Path] = typer.Option(
        None, "--output", "-o", help="Also write a page: monitor.html.", rich_help_panel=OUTPUT
    ),
    metrics: Optional[Path] = typer.Option(
        None,
        "--metrics",
        help="Also write gauges of the newest window for Prometheus (the text-file collector). An earlier file "
        "is replaced.",
        rich_help_panel=_TOLD,
    ),
    webhook: Optional[str] = typer.Option(
        None,
        "--webhook",
        metavar="URL",
        help="If there is an alarm, post its figures to this address, as JSON without texts.",
        rich_help_panel=_TOLD,
    ),
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Find out what has changed since the training of a run.

    The exit code is 0 where nothing alarms, and 4 where something does. docs/monitor.md says what is measured, and
    how often nothing but chance alarms.
    """
    from tunesmith import pipeline
    from tunesmith.cli.arguments import refuse_existing
    from tunesmith.cli.output import display, print_json, print_line
    from tunesmith.monitoring.telling import refuse_webhook, write_gauges
    from tunesmith.reports import monitor_lines, monitor_page
    from tunesmith.run import write_atomically

    if output is not None:
        refuse_existing(output, force=force)
    if webhook is not None:
        refuse_webhook(webhook)
    with display() as shown:
        found = pipeline.monitor(
            run, data=data, log=log, columns=parse_columns(column) or None, window=window, last=last,
            served_as=served_as, alpha=alpha, listeners=[shown],
        )  # fmt: skip
    if output is not None:
        write_atomically(output, monitor_page(found))
    if metrics is not None:
        write_gauges(metrics, found)
    if as_json:
        print_json(found)
    else:
        for line in monitor_lines(found):
            print_line(line)
    if found["ok"]:
        return
    if webhook is not None:
        _post(webhook, found)
    raise typer.Exit(_ALARM)


def _post(url: str, found: JsonObject) -> None:
    """Posts the alarms; where that fails, the exit code is still that of an alarm."""
    from tunesmith.errors import TunesmithError
    from tunesmith.monitoring.telling import post

    try:
        post(url, found)
    except TunesmithError as error:
        typer.echo(f"error: {error}", err=True)
