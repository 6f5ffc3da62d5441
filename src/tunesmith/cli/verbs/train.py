"""`tunesmith train`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import typer

from tunesmith.cli.arguments import (
    COLUMN,
    DATA,
    FORCE,
    JSON,
    LABEL,
    METHOD,
    MODEL,
    OUTPUT,
    TASK,
    TEXT,
    parse_columns,
    recipe_from,
    share_or_file,
)

if TYPE_CHECKING:
    from tunesmith.run import Run

EXAMPLES = (
    "tunesmith train reviews.csv",
    "tunesmith train reviews.csv --label stars --epochs 3 --lr 2e-5 -o runs/stars",
    "tunesmith train recipe.yaml train.method=lora train.lora_r=8",
)


def verb(
    arguments: list[str] = typer.Argument(
        None,
        metavar="DATA|RECIPE|KEY=VALUE",
        help="Data files or a folder, or a recipe file; and values that override it.",
    ),
    label: Optional[str] = LABEL,
    text: Optional[str] = TEXT,
    column: list[str] = COLUMN,
    data: list[str] = typer.Option(
        [], "--data", help="A training file or folder, the same as DATA. Repeatable.", rich_help_panel=DATA
    ),
    validation: Optional[str] = typer.Option(
        None, help="A file, or the share that is held out.", rich_help_panel=DATA
    ),
    test: Optional[str] = typer.Option(
        None, help="A file, or the share that is held out.", rich_help_panel=DATA
    ),
    task: Optional[str] = TASK,
    model: Optional[str] = typer.Option(
        None, help="A Hub id, a local folder, or a run folder.", rich_help_panel=MODEL
    ),
    method: Optional[str] = METHOD,
    epochs: Optional[str] = typer.Option(
        None, metavar="N", help="Number of passes over the training rows.", rich_help_panel=MODEL
    ),
    lr: Optional[str] = typer.Option(None, metavar="X", help="Peak learning rate.", rich_help_panel=MODEL),
    batch_size: Optional[str] = typer.Option(
        None, metavar="N", help="Number of rows in one forward pass.", rich_help_panel=MODEL
    ),
    max_length: Optional[str] = typer.Option(
        None, metavar="N", help="Most tokens of a text.", rich_help_panel=MODEL
    ),
    seed: Optional[str] = typer.Option(
        None, metavar="N", help="Seed of every random choice.", rich_help_panel=MODEL
    ),
    settings: list[str] = typer.Option(
        [],
        "--set",
        metavar="KEY=VALUE",
        help="A value of the recipe, the same as a trailing KEY=VALUE. Repeatable.",
        rich_help_panel=MODEL,
    ),
    output_dir: Optional[str] = typer.Option(
        None,
        "--output-dir",
        "-o",
        help="The run folder; runs/NAME of the data without it.",
        rich_help_panel=OUTPUT,
    ),  # fmt: skip
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Train, evaluate and write a report.

    What to train comes from data files or from a recipe. The task, the columns, the model and the run folder that
    are not named are chosen, and printed. The same command resumes a run that was stopped.

    A trailing section.key=value overrides the recipe: train.weight_decay=0.1.
    """
    from tunesmith import pipeline
    from tunesmith.cli.output import display, print_json
    from tunesmith.events import Note
    from tunesmith.training.processes import is_first_process

    notices: list[str] = []
    recipe = recipe_from(
        arguments or [],
        notices,
        data=data,
        settings={
            "train.method": method,
            "train.num_train_epochs": epochs,
            "train.learning_rate": lr,
            "train.per_device_train_batch_size": batch_size,
            "data.max_length": max_length,
            "seed": seed,
        },
        assignments=settings,
        label=label,
        text=text,
        replaces=force,
        task=task,
        model=model,
        validation=share_or_file(validation),
        test=share_or_file(test),
        columns=parse_columns(column) or None,
        output_dir=output_dir,
    )
    with display() as shown:
        for notice in notices:
            shown(Note(notice))
        run = pipeline.train(recipe, force=force, listeners=[shown])
    if not is_first_process():
        return
    if as_json:
        print_json({"run": str(run.path), "report": str(run.report_file), **run.metrics})
    else:
        _print(run)


def _print(run: Run) -> None:
    from tunesmith.cli.output import next_command, print_line, print_metrics

    print_metrics(run.metrics)
    print_line(f"\nmodel   {run.model}\nreport  {run.report_file}")
    print_line(f"next    {next_command(run)}")
