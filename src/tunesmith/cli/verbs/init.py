"""`tunesmith init`."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer

from tunesmith.cli.arguments import (
    COLUMN,
    FORCE,
    JSON,
    LABEL,
    OUTPUT,
    TASK,
    TEXT,
    parse_columns,
    refuse_existing,
)

EXAMPLES = (
    "tunesmith init reviews.csv",
    "tunesmith init reviews.csv --label stars -o stars.yaml",
    "tunesmith init examples/support/train.jsonl --task ner",
)


def verb(
    data: str = typer.Argument(..., help="A data file or folder. Its columns are guessed."),
    label: Optional[str] = LABEL,
    text: Optional[str] = TEXT,
    column: list[str] = COLUMN,
    task: Optional[str] = TASK,
    output: Path = typer.Option(
        Path("recipe.yaml"), "--output", "-o", help="The recipe file to write.", rich_help_panel=OUTPUT
    ),
    schema: bool = typer.Option(
        True,
        "--schema/--no-schema",
        help="Write the schema for editors beside the recipe.",
        rich_help_panel=OUTPUT,
    ),
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Write a commented recipe for a data file.

    The recipe has every key that the task supports, with its default. Editors that read JSON Schemas complete the
    keys and mark wrong values.
    """
    from tunesmith.cli.output import print_json, print_line
    from tunesmith.data.recipe_template import SCHEMA_FILE, schema_text, starting_recipe
    from tunesmith.defaults import settle
    from tunesmith.run import write_atomically

    schema_file = output.with_name(SCHEMA_FILE)
    refuse_existing(output, force=force)
    if schema and schema_file.is_file() and schema_file.read_text(encoding="utf-8") != schema_text():
        refuse_existing(schema_file, force=force)
    chosen_task, named, notices = settle(task, data, parse_columns(column), label=label, text=text)
    recipe, chosen = starting_recipe(chosen_task, data, named, with_schema=schema)
    write_atomically(output, recipe)
    if schema:
        write_atomically(schema_file, schema_text())
    if as_json:
        print_json({"recipe": str(output), "task": chosen_task, "columns": chosen})
        return
    for notice in notices:
        print_line(notice)
    for ours, theirs in chosen.items():
        print_line(f"rows are {theirs}" if ours == "rows" else f"{ours} = column `{theirs}`")
    print_line(f"\nwrote {output}; next: tunesmith train {output}")
