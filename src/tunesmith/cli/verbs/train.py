"""`tunesmith train`."""

from __future__ import annotations

from typing import Optional

import typer

from tunesmith.cli.arguments import COLUMN, FORCE, JSON, parse_columns, recipe_from, share_or_file


def verb(
    arguments: list[str] = typer.Argument(
        None, metavar="RECIPE|KEY=VALUE", help="A recipe file, and values that win over it."
    ),
    task: Optional[str] = typer.Option(None, help="What to learn; `tunesmith list` shows the tasks."),
    model: Optional[str] = typer.Option(None, help="Hub id, local folder, or a run of ours."),
    data: list[str] = typer.Option([], "--data", help="Training file or folder. Repeatable."),
    validation: Optional[str] = typer.Option(None, help="A file, or the share to hold out."),
    test: Optional[str] = typer.Option(None, help="A file, or the share to hold out."),
    column: list[str] = COLUMN,
    output_dir: Optional[str] = typer.Option(None, help="The run folder."),
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Train, evaluate and report, from a recipe or from options; run again, it resumes.

    A trailing section.key=value overrides the recipe: train.learning_rate=1e-4.
    """
    from tunesmith import pipeline
    from tunesmith.cli.output import display, print_json, print_line, print_metrics
    from tunesmith.events import Note
    from tunesmith.training.processes import is_first_process

    notices: list[str] = []
    recipe = recipe_from(
        arguments or [],
        notices,
        task=task,
        model=model,
        data=data or None,
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
        print_json({"run": str(run.path), "report": str(run.report_file), **run.metrics()})
        return
    print_metrics(run.metrics())
    print_line(f"\nmodel   {run.model}\nreport  {run.report_file}")
