"""Arguments that several verbs share, and the recipe that is built from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tunesmith.errors import RecipeError

if TYPE_CHECKING:
    from tunesmith.recipe import Recipe

JSON = typer.Option(False, "--json", help="Print one JSON object on standard output, and nothing else.")
FORCE = typer.Option(False, "--force", help="Overwrite what exists.")
COLUMN = typer.Option(
    [],
    "--column",
    help="TASK_COLUMN=FILE_COLUMN: the file's column for a column of the task, such as text=review. Repeatable.",
)
RUN = typer.Argument(..., help="The run folder.")


def parse_columns(pairs: list[str]) -> dict[str, str]:
    """`["text=review"]` as `{"text": "review"}`.

    Raises:
        RecipeError: a pair has no `=`.
    """
    columns = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not equals or not ours or not theirs:
            raise RecipeError(
                f"--column must be TASK_COLUMN=FILE_COLUMN, got `{pair}`.",
                remedy="Example: `--column text=review`.",
            )
        columns[ours] = theirs
    return columns


def share_or_file(text: str | None) -> float | list[str] | None:
    """`0.1` as a number, anything else as a file."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return [text]


def recipe_from(arguments: list[str], notices: list[str], **values: object) -> Recipe:
    """The recipe of a command, from an optional file, `section.key=value` arguments and options.

    Raises:
        RecipeError: two files are named, or the recipe is not valid.
    """
    from tunesmith.api import build_recipe

    files = [a for a in arguments if "=" not in a or Path(a).is_file()]
    if len(files) > 1:
        raise RecipeError(
            f"only one recipe can be given, got {' and '.join(f'`{file}`' for file in files)}.",
            remedy="Leave one out. A value is written `section.key=value`.",
        )
    overrides = [a for a in arguments if a not in files]
    return build_recipe(files[0] if files else None, overrides=overrides, notices=notices, **values)


def refuse_existing(path: Path, *, force: bool) -> None:
    """Refuses to overwrite a file without `--force`.

    Raises:
        RecipeError: the file exists.
    """
    if path.exists() and not force:
        raise RecipeError(f"`{path}` already exists.", remedy="Give another name, or `--force`.")
