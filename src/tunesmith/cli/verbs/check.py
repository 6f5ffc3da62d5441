"""`tunesmith check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from tunesmith.cli.arguments import (
    ARGUMENTS,
    COLUMN,
    FORCE,
    JSON,
    LABEL,
    MODEL,
    OUTPUT,
    TASK,
    TEST,
    TEXT,
    VALIDATION,
    parse_columns,
    recipe_from,
    share_or_file,
)

if TYPE_CHECKING:
    from tunesmith.pipeline.checking import CheckReport
    from tunesmith.recipe import Recipe
    from tunesmith.types import JsonObject

EXAMPLES = (
    "tunesmith check reviews.csv",
    "tunesmith check train.csv --test test.csv --fix clean.csv --output check.html",
    "tunesmith check recipe.yaml --fast --json",
)


_MODEL = typer.Option(
    None, help="The model whose features are used: a Hub id or a folder.", rich_help_panel=MODEL
)
_FAST = typer.Option(False, "--fast", help="Leave out the checks that need the model.", rich_help_panel=MODEL)
_FIX = typer.Option(
    None,
    "--fix",
    metavar="OUT",
    help="Write a cleaned copy: of the training rows to a file (.jsonl, .csv, .tsv, .parquet), of all splits to a "
    "folder.",
    rich_help_panel=OUTPUT,
)
_PAGE = typer.Option(
    None, "--output", "-o", help="Also write the findings to this page: check.html.", rich_help_panel=OUTPUT
)


def verb(
    arguments: list[str] = ARGUMENTS,
    label: Optional[str] = LABEL,
    text: Optional[str] = TEXT,
    column: list[str] = COLUMN,
    validation: Optional[str] = VALIDATION,
    test: Optional[str] = TEST,
    task: Optional[str] = TASK,
    model: Optional[str] = _MODEL,
    fast: bool = _FAST,
    fix: Optional[Path] = _FIX,
    output: Optional[Path] = _PAGE,
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Check the data, without training.

    Finds rows that cannot be used, copies within and across splits, wrong labels, personal data and more, each
    with its rows, its evidence and what to do. The exit code is 3 if a finding makes training pointless, or its
    score wrong.
    """
    from tunesmith.cli.arguments import refuse_existing
    from tunesmith.pipeline import fixing
    from tunesmith.pipeline.checking import title_of
    from tunesmith.run import write_atomically
    from tunesmith.run.locking import refuse_several_processes

    refuse_several_processes()
    if output is not None:
        refuse_existing(output, force=force)
    notices: list[str] = []
    named: dict[str, Any] = {
        "label": label, "text": text, "task": task, "model": model, "columns": parse_columns(column) or None,
        "validation": share_or_file(validation), "test": share_or_file(test),
    }  # fmt: skip
    recipe = recipe_from(
        arguments or [], notices, settings={}, what="check", output_dir="runs/check", **named
    )
    if fix is not None:
        fixing.refuse_target(recipe, fix, force=force)
    report = _checked(recipe, notices, with_model=not fast)
    done = None if fix is None else fixing.fix(report, fix, force=force)
    if output is not None:
        write_atomically(output, report.page(title_of(recipe)))
    _print(report, output, done, as_json=as_json)
    _exit_if_blocking(report)


def _checked(recipe: Recipe, notices: list[str], *, with_model: bool) -> CheckReport:
    from tunesmith import pipeline
    from tunesmith.cli.output import display
    from tunesmith.events import Note

    with display() as shown:
        for notice in notices:
            shown(Note(notice))
        return pipeline.check(recipe, with_model=with_model, listeners=[shown])


def _exit_if_blocking(report: CheckReport) -> None:
    from tunesmith.errors import CheckBlockedError

    if report.is_blocking:
        raise typer.Exit(CheckBlockedError.exit_code)


def _print(report: CheckReport, output: Path | None, done: JsonObject | None, *, as_json: bool) -> None:
    from tunesmith.cli.output import print_json, print_line
    from tunesmith.pipeline.checking import lines_of
    from tunesmith.pipeline.fixing import lines_of_fix

    found: JsonObject = report.to_json()
    if as_json:
        page = {} if output is None else {"output": str(output)}
        print_json({**found, **({} if done is None else {"fix": done}), **page})
        return
    for line in [*lines_of(found), *([] if done is None else ["", *lines_of_fix(done)])]:
        print_line(line)
    if output is not None:
        print_line(f"\npage    {output}")
