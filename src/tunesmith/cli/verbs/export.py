"""`tunesmith export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from tunesmith.cli.arguments import COLUMN, FORCE, JSON, RUN, parse_columns

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def verb(
    run: str = RUN,
    arguments: list[str] = typer.Argument(
        None, metavar="KEY=VALUE", help="Limits of the check: export.min_agreement, export.max_metric_drop."
    ),
    to: Optional[str] = typer.Option(None, "--to", help="The format: merged, bf16, onnx or onnx-int8."),
    schedule: Optional[str] = typer.Option(
        None,
        metavar="TIME",
        help="Files for systemd and cron that update the run each TIME (7d, 12h), in place of a format.",
    ),
    registry: Optional[Path] = typer.Option(None, help="The registry of these updates."),
    log: Optional[str] = typer.Option(None, help="The prediction log of these updates."),
    output_dir: Optional[Path] = typer.Option(
        None, help="The folder to write. By default RUN-FORMAT, beside the run."
    ),
    data: list[str] = typer.Option(
        [], "--data", help="A file of rows for the check, if the run's own are gone. Repeatable."
    ),
    column: list[str] = COLUMN,
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Write a run in another format, and check it.

    The export is compared with the run on the validation rows. An export that loses more than the recipe's
    `export` section allows is refused, and nothing is written.
    """
    from tunesmith import exporting
    from tunesmith.cli.output import display, print_json

    if schedule is not None:
        _schedule(run, schedule, to, data, registry, log, output_dir, force=force, as_json=as_json)
        return
    to = _format(to, registry, log)
    with display() as shown:
        facts = exporting.export(
            run,
            to,
            output_dir=output_dir,
            data=data,
            columns=parse_columns(column) or None,
            overrides=arguments or [],
            force=force,
            listeners=[shown],
        )
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def _format(to: str | None, registry: Path | None, log: str | None) -> str:
    """The format; refuses options that have a meaning for a schedule alone."""
    from tunesmith.errors import RecipeError

    if to is None:
        raise RecipeError(
            "an export needs a format.", remedy="Give `--to onnx`; `tunesmith list exporters` shows all."
        )
    if registry is not None or log is not None:
        raise RecipeError(
            "--registry and --log have a meaning only with --schedule.", remedy="Leave them out."
        )
    return to


def _schedule(
    run: str,
    every: str,
    to: str | None,
    data: list[str],
    registry: Path | None,
    log: str | None,
    output_dir: Path | None,
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Writes the files of a schedule."""
    from tunesmith.cli.output import print_json, print_line
    from tunesmith.errors import RecipeError
    from tunesmith.lifecycle.schedules import write_schedule

    if to is not None:
        raise RecipeError("--to and --schedule exclude each other.", remedy="Give one of them.")
    if not data and log is None:
        raise RecipeError("an update needs new rows.", remedy="Give `--data FILE` or `--log DIR`.")
    arguments = [part for file in data for part in ("--data", str(Path(file).resolve()))]
    arguments += ["--log", log if log is None or "://" in log else str(Path(log).resolve())] if log else []
    arguments += ["--registry", str(registry.resolve())] if registry is not None else []
    folder = output_dir or Path(f"{run.rstrip('/')}-schedule")
    facts = write_schedule(run, every, arguments, folder, force=force)
    if as_json:
        print_json(facts)
        return
    for file in facts["files"]:
        print_line(str(folder / file))


def _print(facts: JsonObject) -> None:
    from tunesmith.cli.output import print_line, print_table

    check, path = facts["check"], facts["path"]
    rows = [
        [
            name,
            f"{check[name]['value']:.4f}",
            f"{check[name]['low']:.4f} to {check[name]['high']:.4f}",
            f"{check['texts_per_s'][name]:,.0f}",
        ]
        for name in ("run", "export")
    ]
    print_table(["", check["metric"], "interval", "texts/s"], rows)
    print_line(f"\n{check['agreement']:.2%} of {check['rows']:,} answers are the run's")
    print_line(f"export  {path}  ({facts['bytes'] / 1e6:,.1f} MB)")
    print_line(f'next    tunesmith predict {path} "a text"')
