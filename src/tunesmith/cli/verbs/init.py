"""`tunesmith init`."""

from __future__ import annotations

from pathlib import Path

import typer

from tunesmith.cli.arguments import COLUMN, FORCE, JSON, parse_columns, refuse_existing


def verb(
    data: str = typer.Argument(..., help="A data file. Its columns are guessed."),
    task: str = typer.Option("text-classification", help="The task. `tunesmith list` shows all tasks."),
    column: list[str] = COLUMN,
    output: Path = typer.Option(Path("recipe.yaml"), help="The recipe file to write."),
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Write a commented recipe for a data file."""
    from tunesmith.cli.output import print_json, print_line
    from tunesmith.data.recipe_template import starting_recipe
    from tunesmith.run import write_atomically

    refuse_existing(output, force=force)
    text, chosen = starting_recipe(task, data, parse_columns(column))
    write_atomically(output, text)
    if as_json:
        print_json({"recipe": str(output), "columns": chosen})
        return
    for ours, theirs in chosen.items():
        print_line(f"rows are {theirs}" if ours == "rows" else f"{ours} = column `{theirs}`")
    print_line(f"\nwrote {output}; next: tunesmith train {output}")
