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
    to: str = typer.Option(..., "--to", help="The format: merged, bf16, onnx or onnx-int8."),
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
