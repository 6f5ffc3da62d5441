"""`tunesmith train`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import typer

from tunesmith.cli.arguments import (
    ARGUMENTS,
    COLUMN,
    DATA,
    FORCE,
    JSON,
    LABEL,
    METHOD,
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
    from collections.abc import Mapping

    from tunesmith.run import Run

EXAMPLES = (
    "tunesmith train reviews.csv",
    "tunesmith train reviews.csv --label stars --epochs 3 --lr 2e-5 -o runs/stars",
    "tunesmith train recipe.yaml train.method=lora train.lora_r=8",
)


def _of_model(*names: str, **how: Any) -> Any:
    return typer.Option(None, *names, rich_help_panel=MODEL, **how)


_SET = typer.Option(
    [],
    "--set",
    metavar="KEY=VALUE",
    help="A value of the recipe, the same as a trailing KEY=VALUE. Repeatable.",
    rich_help_panel=MODEL,
)
_DATA = typer.Option(
    [], "--data", help="A training file or folder, the same as DATA. Repeatable.", rich_help_panel=DATA
)
_RUN_FOLDER = typer.Option(
    None,
    "--output-dir",
    "-o",
    help="The run folder; runs/NAME of the data without it.",
    rich_help_panel=OUTPUT,
)


def verb(
    arguments: list[str] = ARGUMENTS,
    label: Optional[str] = LABEL,
    text: Optional[str] = TEXT,
    column: list[str] = COLUMN,
    data: list[str] = _DATA,
    validation: Optional[str] = VALIDATION,
    test: Optional[str] = TEST,
    task: Optional[str] = TASK,
    model: Optional[str] = _of_model(help="A Hub id, a local folder, or a run folder."),
    method: Optional[str] = METHOD,
    epochs: Optional[str] = _of_model(metavar="N", help="Number of passes over the training rows."),
    lr: Optional[str] = _of_model(metavar="X", help="Peak learning rate."),
    batch_size: Optional[str] = _of_model(metavar="N", help="Number of rows in one forward pass."),
    max_length: Optional[str] = _of_model(metavar="N", help="Most tokens of a text."),
    seed: Optional[str] = _of_model(metavar="N", help="Seed of every random choice."),
    settings: list[str] = _SET,
    output_dir: Optional[str] = _RUN_FOLDER,
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Train, evaluate and write a report.

    What to train comes from data files or from a recipe. The task, the columns, the model and the run folder that
    are not named are chosen, and printed. The same command resumes a run that was stopped.

    A trailing section.key=value overrides the recipe: train.weight_decay=0.1.
    """
    values = {
        "train.method": method, "train.num_train_epochs": epochs, "train.learning_rate": lr,
        "train.per_device_train_batch_size": batch_size, "data.max_length": max_length, "seed": seed,
    }  # fmt: skip
    named = {
        "data": data, "assignments": settings, "label": label, "text": text, "task": task, "model": model,
        "validation": share_or_file(validation), "test": share_or_file(test), "output_dir": output_dir,
        "columns": parse_columns(column) or None, "replaces": force,
    }  # fmt: skip
    run = _train(arguments or [], values, named, force=force)
    if run is not None:
        _print(run, as_json=as_json)


def _train(
    arguments: list[str], settings: Mapping[str, str | None], named: Mapping[str, Any], *, force: bool
) -> Run | None:
    """The run; None in a process that is not the one that prints."""
    from tunesmith import pipeline
    from tunesmith.cli.output import display
    from tunesmith.events import Note
    from tunesmith.training.processes import is_first_process

    notices: list[str] = []
    recipe = recipe_from(arguments, notices, settings=settings, **named)
    with display() as shown:
        for notice in notices:
            shown(Note(notice))
        run = pipeline.train(recipe, force=force, listeners=[shown])
    return run if is_first_process() else None


def _print(run: Run, *, as_json: bool) -> None:
    from tunesmith.cli.output import next_command, print_json, print_line, print_metrics

    if as_json:
        print_json({"run": str(run.path), "report": str(run.report_file), **run.metrics})
        return
    print_metrics(run.metrics)
    print_line(f"\nmodel   {run.model}\nreport  {run.report_file}")
    print_line(f"next    {next_command(run)}")
