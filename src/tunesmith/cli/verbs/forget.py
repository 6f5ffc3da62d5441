"""`tunesmith forget`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from tunesmith.cli.arguments import JSON

if TYPE_CHECKING:
    from tunesmith.erasure import Erasure
    from tunesmith.erasure.erasing import ErasedRun

EXAMPLES = (
    "tunesmith forget runs --where customer=4711 --log runs/reviews-log",
    "tunesmith forget runs/reviews --row-id train.csv:17 --dry-run",
    "tunesmith forget --id 7f3c2d9e --log runs/reviews-log",
)
_WHOM, _WHERE = "Whom", "Where"


def _whom(name: str, text: str, **how: Any) -> Any:
    return typer.Option([], name, help=f"{text} Repeatable.", rich_help_panel=_WHOM, **how)


_ROW = _whom("--row-id", "A row, as the files of a run name it.", metavar="FILE:LINE")
_COLUMN = _whom("--where", "Rows with this value in a column.", metavar="COLUMN=VALUE")
_TEXT = _whom("--text", "A text itself.")
_ANSWER = _whom("--id", "An answer in a log, or a request: the header x-tunesmith-log-id.")


def verb(
    runs: list[str] = typer.Argument(None, metavar="RUN", help="Runs, or folders of runs."),
    row_id: list[str] = _ROW,
    where: list[str] = _COLUMN,
    text: list[str] = _TEXT,
    answer: list[str] = _ANSWER,
    log: list[str] = typer.Option(
        [], "--log", help="The folder or URL of a prediction log. Repeatable.", rich_help_panel=_WHERE
    ),
    registry: Optional[Path] = typer.Option(
        None, metavar="DIR", help="A registry: its runs, and the log beside it.", rich_help_panel=_WHERE
    ),
    exclude: Path = typer.Option(
        Path("forgotten.txt"),
        metavar="FILE",
        help="The file for fingerprints of the rows, for `data.exclude`.",
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only look."),
    as_json: bool = JSON,
) -> None:
    """Remove a person's rows from runs, logs and caches.

    Rows that say the same are removed, too. It names the runs whose models have learned from the rows, with the
    command that trains without them. Your own data files are left as they are. docs/forget.md has the limits.
    """  # fmt: skip
    from tunesmith.api.erasing import forget
    from tunesmith.cli.arguments import parse_columns
    from tunesmith.cli.output import print_json

    found = forget(
        runs or [], row_id=row_id, where=parse_columns(where), text=text, id=answer, log=log,
        registry=registry, exclude=exclude, dry_run=dry_run,
    )  # fmt: skip
    if as_json:
        print_json(found.to_json())
    else:
        _print(found)


def _print(found: Erasure) -> None:
    from tunesmith.cli.output import print_line

    done = "found" if found.is_dry else "removed"
    for run in found.runs:
        _print_run(run, done)
    for log, n in found.logs.items():
        print_line(f"{log}: {n:,} answers {done}")
    if found.cache.get("entries"):
        print_line(
            f"cache: {found.cache['entries']:,} entries {done}; they are made again when they are needed"
        )
    if found.exclude and not found.is_dry:
        print_line(f"fingerprints are in {found.exclude}; a recipe names it as data.exclude")
    if found.is_empty:
        print_line("nothing of this was found")
    elif found.is_dry:
        print_line("nothing was changed; leave --dry-run out to remove it")


def _print_run(run: ErasedRun, done: str) -> None:
    from tunesmith.cli.output import print_line

    print_line(f"{run.run}: {len(run.rows):,} rows")
    for file, n in run.files.items():
        print_line(f"  {file}: {n:,} {done}" if "(" not in file else f"  {file}")
    for source in run.unread:
        print_line(f"  ! not read: {source}")
    if run.trained_on:
        print_line(f"  the model was trained on {run.trained_on:,} of these texts; to train without them:")
        print_line(f"  {run.retrain}")
