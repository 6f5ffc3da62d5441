"""`tunesmith tune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

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
    from tunesmith.tuning.folder import SearchFolder

EXAMPLES = (
    "tunesmith tune reviews.csv --time 20m",
    "tunesmith tune recipe.yaml --trials 40 --workers 2",
    "tunesmith tune recipe.yaml 'tune.space={train.learning_rate: {low: 1e-5, high: 1e-3, log: true}}'",
)

SEARCH = "Search"


def verb(
    arguments: list[str] = ARGUMENTS,
    trials: Optional[str] = typer.Option(
        None, "--trials", metavar="N", help="Number of trainings of the search.", rich_help_panel=SEARCH
    ),
    time: Optional[str] = typer.Option(
        None,
        "--time",
        metavar="T",
        help="Time for the search and the final training: 20m, 1h30m.",
        rich_help_panel=SEARCH,
    ),
    workers: int = typer.Option(
        1, "--workers", help="Number of processes, each with its share of the cores.", rich_help_panel=SEARCH
    ),
    storage: Optional[str] = typer.Option(
        None,
        "--storage",
        metavar="URL",
        help="postgresql://user:password@host/database, for a search on several machines; ${NAME} in it is a "
        "variable of the environment.",
        rich_help_panel=SEARCH,
    ),
    label: Optional[str] = LABEL,
    text: Optional[str] = TEXT,
    column: list[str] = COLUMN,
    data: list[str] = typer.Option(
        [], "--data", help="A training file or folder, the same as DATA. Repeatable.", rich_help_panel=DATA
    ),
    validation: Optional[str] = VALIDATION,
    test: Optional[str] = TEST,
    task: Optional[str] = TASK,
    model: Optional[str] = typer.Option(
        None, help="A Hub id, a local folder, or a run folder.", rich_help_panel=MODEL
    ),
    method: Optional[str] = METHOD,
    seed: Optional[str] = typer.Option(
        None, metavar="N", help="Seed of every random choice.", rich_help_panel=MODEL
    ),
    output_dir: Optional[str] = typer.Option(
        None,
        "--output-dir",
        "-o",
        help="The folder of the search; that of the recipe with -tune behind its name without it.",
        rich_help_panel=OUTPUT,
    ),
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Search for the best recipe, coarse first, then fine, and train it.

    The search begins from a recipe, or from the default recipe for data files. It changes the keys of the recipe's
    tune.space, or those that usually matter for the task. Its budget is a number of trials, a time, or both. The
    same command resumes a search that was stopped.
    """
    from tunesmith import tuning
    from tunesmith.cli.output import display
    from tunesmith.errors import RecipeError
    from tunesmith.events import Note
    from tunesmith.masking import filled

    notices: list[str] = []
    recipe = recipe_from(
        arguments or [], notices, what="tune",
        settings={"tune.trials": trials, "train.method": method, "seed": seed},
        data=data, label=label, text=text, task=task, model=model, validation=share_or_file(validation),
        test=share_or_file(test), output_dir=output_dir, columns=parse_columns(column) or None, replaces=force,
        **({"tune.time": time} if time is not None else {}),
    )  # fmt: skip
    if output_dir is None:
        recipe = tuning.in_own_folder(recipe)
    options = tuning.Options(workers, filled(storage or "", "--storage", RecipeError) or None, force)
    with display() as shown:
        for notice in notices:
            shown(Note(notice))
        folder = tuning.tune(recipe, options, [shown])
    _print(folder, as_json=as_json)


def _print(folder: SearchFolder, *, as_json: bool) -> None:
    from tunesmith.cli.output import next_command, print_json, print_line, print_metrics
    from tunesmith.run import read_json

    if not folder.result_file.is_file():  # another machine leads the search
        return
    found = read_json(folder.result_file)
    if as_json:
        print_json({"search": str(folder.path), "report": str(folder.report_file), **found})
        return
    print_metrics(folder.best.metrics)
    for sentence in found["text"]:
        print_line(f"\n{sentence}")
    print_line(f"\nrecipe  {folder.best_recipe}\nmodel   {folder.best.model}\nreport  {folder.report_file}")
    print_line(f"next    {next_command(folder.best)}")
