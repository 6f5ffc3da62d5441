"""`tunesmith label`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from tunesmith.cli.arguments import COLUMN, DATA, FORCE, JSON, OUTPUT, TASK, parse_columns

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

EXAMPLES = (
    "tunesmith label runs/reviews --data pool.csv --n 50",
    "tunesmith label runs/reviews --data pool.csv --n 50 --output to-label.csv",
    "tunesmith label sentence-transformers/all-MiniLM-L6-v2 --data pool.csv --n 50",
)

_MODEL = typer.Argument(
    ..., metavar="RUN|MODEL", help="A run folder; or a base model, where there is no run yet."
)
_DATA = typer.Option(..., "--data", help="A file of rows without labels. Repeatable.", rich_help_panel=DATA)
_N = typer.Option(50, "--n", min=1, help="The number of rows to pick.", rich_help_panel=DATA)
_OUTPUT = typer.Option(
    None,
    "--output",
    "-o",
    help="The file to fill in: .csv, .tsv, .jsonl or .parquet. By default POOL-to-label, with the pool's ending.",
    rich_help_panel=OUTPUT,
)
_SEED = typer.Option(42, "--seed", help="The seed of every random choice.", rich_help_panel=DATA)


def verb(
    model: str = _MODEL,
    data: list[str] = _DATA,
    n: int = _N,
    column: list[str] = COLUMN,
    task: Optional[str] = TASK,
    seed: int = _SEED,
    output: Optional[Path] = _OUTPUT,
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Pick the rows that are worth labelling next.

    Rows of a pool of which the run is unsure, and that differ from each other, go into a file to fill in, the most
    useful first. `tunesmith train` reads it together with the rows that have labels already.
    """
    from tunesmith import pipeline
    from tunesmith.cli.output import display, print_json
    from tunesmith.run.locking import refuse_several_processes

    refuse_several_processes()
    with display() as shown:
        found = pipeline.label(
            model, data, n=n, task=task, columns=parse_columns(column) or None, output=output, seed=seed,
            force=force, listeners=[shown],
        )  # fmt: skip
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: JsonObject) -> None:
    from tunesmith.cli.output import print_line

    columns = ", ".join(f"`{name}`" for name in found["to_fill_in"])
    print_line(f"{found['rows']:,} rows, picked by {found['by']}, in {found['output']}")
    if found["expected"] is not None:
        print_line(found["expected"]["text"])
    print_line(f"\nnext    fill in {columns}, then `tunesmith train` with this file beside the labelled ones")
