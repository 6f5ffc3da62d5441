"""`tunesmith train`."""

from __future__ import annotations

from typing import Optional

import typer

from tunesmith.cli.arguments import COLUMN, FORCE, JSON, parse_columns, recipe_from, share_or_file


def verb(
    arguments: list[str] = typer.Argument(
        None, metavar="RECIPE|KEY=VALUE", help="A recipe file, and values that override it."
    ),
    task: Optional[str] = typer.Option(None, help="The task. `tunesmith list` shows all tasks."),
    model: Optional[str] = typer.Option(None, help="A Hub id, a local folder, or a run folder."),
    data: list[str] = typer.Option([], "--data", help="A training file or folder. Repeatable."),
    validation: Optional[str] = typer.Option(None, help="A file, or the share that is held out."),
    test: Optional[str] = typer.Option(None, help="A file, or the share that is held out."),
    column: list[str] = COLUMN,
    output_dir: Optional[str] = typer.Option(None, help="The run folder."),
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Train, evaluate and write a report.

    What to train comes from a recipe, or from options. The same command on the same run folder resumes a run
    that was stopped.

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
        print_json({"run": str(run.path), "report": str(run.report_file), **run.metrics})
        return
    print_metrics(run.metrics)
    print_line(f"\nmodel   {run.model}\nreport  {run.report_file}")
