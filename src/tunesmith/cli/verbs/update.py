"""`tunesmith update`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Optional

import typer

from tunesmith.cli.arguments import COLUMN, DATA, JSON, OUTPUT, parse_columns

if TYPE_CHECKING:
    from tunesmith.lifecycle.updating import Asked
    from tunesmith.lifecycle.watching import Schedule
    from tunesmith.types import JsonObject

EXAMPLES = (
    "tunesmith update runs/reviews --data new.csv",
    "tunesmith update runs/reviews --data new.csv --registry registry --from champion --merge replay",
    "tunesmith update registry --log runs/reviews-log --every 7d",
    "tunesmith update registry --log runs/reviews-log --watch --min-feedback 500 --budget 2h",
)
_LEARNING, _RULE, _SERVICE = "What is learned", "What is asked of a challenger", "As a service"


def _learning(default: Any, *names: str, **how: Any) -> Any:
    return typer.Option(default, *names, rich_help_panel=_LEARNING, **how)


def _rule(default: Any, *names: str, **how: Any) -> Any:
    return typer.Option(default, *names, rich_help_panel=_RULE, **how)


def _service(default: Any, *names: str, **how: Any) -> Any:
    return typer.Option(default, *names, rich_help_panel=_SERVICE, **how)


_SLICES = _rule(
    [], "--slice", metavar="COLUMN", help="A column by whose values nothing may get worse. Repeatable."
)


def verb(
    run: str = typer.Argument(..., help="The champion: a run folder, or a registry."),
    data: list[str] = typer.Option(
        [], "--data", help="A file of new rows with labels. Repeatable.", rich_help_panel=DATA
    ),
    log: Optional[str] = typer.Option(
        None, help="A prediction log: its rows with feedback are new rows.", rich_help_panel=DATA
    ),
    column: list[str] = COLUMN,
    registry: Optional[Path] = typer.Option(
        None, help="A registry, in which a better challenger is promoted. Else it is only proposed."
    ),
    start: Literal["champion", "base", "both"] = _learning(
        "both", "--from", help="What challengers begin from."
    ),
    merge: Literal["all", "window", "replay"] = _learning(
        "all", help="Old rows that are learned again: all, the newest, or a sample."
    ),
    rows: Optional[int] = _learning(None, help="Rows of the window, or old rows that are replayed.", min=1),
    holdout: float = _rule(0.3, help="Share of the new rows on which both are compared."),
    margin: float = _rule(0.02, help="Largest loss on the old rows that is accepted."),
    risk: float = _rule(0.05, help="Chance that a loss of the margin is overlooked, at most 0.5."),
    level: float = _rule(0.05, help="Level of the tests."),
    slices: list[str] = _SLICES,
    every: Optional[str] = _service(None, metavar="TIME", help="Update again and again: 7d, 12h."),
    watch: bool = _service(False, "--watch", help="Update after drift, or with enough feedback."),
    look: str = _service("1h", metavar="TIME", help="Time between two looks for a reason."),
    min_feedback: int = _service(200, help="Rows with new feedback that are a reason.", min=1),
    budget: Optional[str] = _service(None, metavar="TIME", help="Most time of updates in 24 hours."),
    times: Optional[int] = _service(None, help="End after this many updates.", min=1),
    output_dir: Optional[Path] = typer.Option(
        None, help="The folder of the update. By default RUN-update-N.", rich_help_panel=OUTPUT
    ),
    as_json: bool = JSON,
) -> None:
    """Train a challenger on new rows, and promote it only if it is better.

    Both answer the same rows: old test rows, and new rows that were held out. The challenger must be better on the
    new ones, not worse on the old ones by the margin, and significantly worse on no slice. update.json and
    update.html say all that was decided.
    """
    from tunesmith.api.updating import asked_of
    from tunesmith.run.locking import refuse_several_processes

    refuse_several_processes()
    asked = asked_of(
        run, data, log=log, registry=registry, start=start, merge=merge, rows=rows, holdout=holdout,
        margin=margin, risk=risk, level=level, slices=slices, columns=parse_columns(column) or None,
        output_dir=output_dir,
    )  # fmt: skip
    schedule = _schedule(every, look, budget, watch=watch, min_feedback=min_feedback, times=times)
    if schedule is None:
        _once(asked, as_json=as_json)
    else:
        _serve(asked, schedule, as_json=as_json)


def _schedule(
    every: str | None, look: str, budget: str | None, *, watch: bool, min_feedback: int, times: int | None
) -> Schedule | None:
    """When to update again; None for once."""
    from tunesmith.errors import RecipeError
    from tunesmith.lifecycle.watching import Schedule

    if every is None and not watch:
        if budget is not None or times is not None:
            raise RecipeError(
                "--budget and --times are for a service.", remedy="Give `--every 7d` or `--watch`, too."
            )
        return None
    return Schedule(
        None if every is None else _seconds("every", every), watch, _seconds("look", look), min_feedback,
        None if budget is None else _seconds("budget", budget), times,
    )  # fmt: skip


def _seconds(option: str, text: str) -> float:
    from tunesmith.recipe.durations import seconds_in

    return seconds_in(text, what=f"--{option}", remedy=f"Example: `--{option} 12h`.")


def _once(asked: Asked, *, as_json: bool) -> None:
    from tunesmith.cli.output import display
    from tunesmith.lifecycle.updating import update

    with display() as shown:
        found = update(asked, listeners=[shown])
    _print(found, as_json=as_json)


def _serve(asked: Asked, schedule: Schedule, *, as_json: bool) -> None:
    """Updates until a signal; each record is a line of JSON, or a few lines for people."""
    from tunesmith.cli.output import display
    from tunesmith.lifecycle.alarms import alarms_of
    from tunesmith.lifecycle.watching import serve_updates

    with display() as shown:
        serve_updates(
            asked, schedule, alarms=alarms_of, listeners=[shown],
            done=lambda found: _print(found, as_json=as_json),
        )  # fmt: skip


def _print(found: JsonObject, *, as_json: bool) -> None:
    import sys

    from tunesmith.cli.output import print_json, print_line
    from tunesmith.reports.update import update_lines

    if as_json:
        print_json(found)
    else:
        for line in update_lines(found):
            print_line(line)
        if "folder" in found:
            print_line(f"\nreport  {Path(found['folder']) / 'update.html'}")
        if found["decision"] == "proposed":
            print_line(f"next    tunesmith promote {found['challenger']} --registry REGISTRY")
    sys.stdout.flush()
