"""Arguments that several verbs share, and the recipe that is built from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import typer

from tunesmith.cli.completion import complete_methods, complete_tasks
from tunesmith.errors import RecipeError

if TYPE_CHECKING:
    from tunesmith.recipe import Recipe

DATA, MODEL, OUTPUT = "Data", "Model and training", "Output"
"""Titles of the groups of options in the help."""

JSON = typer.Option(
    False, "--json", help="Print one JSON object on standard output, and nothing else.",
    rich_help_panel=OUTPUT,
)  # fmt: skip
FORCE = typer.Option(False, "--force", help="Overwrite what exists.", rich_help_panel=OUTPUT)
COLUMN = typer.Option(
    [],
    "--column",
    help="TASK_COLUMN=FILE_COLUMN: the file's column for a column of the task, such as text=review. Repeatable.",
    rich_help_panel=DATA,
)
LABEL = typer.Option(
    None, "--label", metavar="COLUMN", help="The file's column with what is learned, whatever the task calls it.",
    rich_help_panel=DATA,
)  # fmt: skip
TEXT = typer.Option(
    None, "--text", metavar="COLUMN", help="The file's column with the text, whatever the task calls it.",
    rich_help_panel=DATA,
)  # fmt: skip
TASK = typer.Option(
    None, "--task", help="The task; guessed from the columns without it. `tunesmith list tasks` shows all.",
    autocompletion=complete_tasks, rich_help_panel=MODEL,
)  # fmt: skip
METHOD = typer.Option(
    None, "--method",
    help="What is trained: probe (the head), full (all), lora (an adapter), contrastive (for few rows).",
    autocompletion=complete_methods, rich_help_panel=MODEL,
)  # fmt: skip
ARGUMENTS = typer.Argument(
    None,
    metavar="DATA|RECIPE|KEY=VALUE",
    help="Data files or a folder, or a recipe file; and values that override it.",
)
VALIDATION, TEST = (
    typer.Option(None, f"--{split}", help="A file, or the share that is held out.", rich_help_panel=DATA)
    for split in ("validation", "test")
)
RUN = typer.Argument(..., help="The run folder.")
REGISTRY = typer.Option(..., "--registry", metavar="DIR", help="The folder of the registry.")
REASON = typer.Option(None, "--reason", help="Why, for the history.")
BY = typer.Option(None, "--by", help="Who, for the history. By default the user and the machine.")

_OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")
_RECIPE_ENDINGS = (".yaml", ".yml")
_OTHER_SPLITS = {"validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
                 "test": "test"}  # fmt: skip


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


def recipe_from(
    arguments: Sequence[str],
    notices: list[str],
    *,
    data: Sequence[str] = (),
    what: str = "train",
    settings: Mapping[str, str | None],
    assignments: Sequence[str] = (),
    **values: Any,
) -> Recipe:
    """The recipe of a command: from a recipe file or data files, `section.key=value` arguments, and options.

    Args:
        arguments: what stands without an option: a recipe or data files, and values.
        notices: list to which notices for the user are appended.
        data: the files of `--data`.
        what: the verb, for messages.
        settings: the text of an option by the recipe's key that it sets; None where it was not given.
        assignments: the values of `--set`.
        values: other values, see `build_recipe`.

    Raises:
        RecipeError: two recipes are named, or the recipe is not valid.
        DataError: the task is not named, and the data do not say which one they are for.
    """
    from tunesmith.api import build_recipe

    recipe, files, overrides = sort_arguments(arguments)
    sources = [*files, *data]
    _refuse_other_splits(files)
    if recipe is None and not sources and not any(a.startswith(("data.train=", "data=")) for a in overrides):
        raise RecipeError(
            f"there is nothing to {what}{' on' if what == 'train' else ''}.",
            remedy=f"Give data or a recipe: `tunesmith {what} reviews.csv`, or `tunesmith {what} recipe.yaml`.",
        )
    given = [f"{key}={value}" for key, value in settings.items() if value is not None]
    return build_recipe(
        recipe,
        overrides=[*given, *assignments, *overrides],
        notices=notices,
        data=sources or None,
        **values,
    )


def sort_arguments(arguments: Sequence[str]) -> tuple[str | None, list[str], list[str]]:
    """The recipe file, the data files and the `section.key=value` among the arguments.

    A file that ends in .yaml or .yml, or has no ending, is a recipe; all else without `key=` names data.

    Raises:
        RecipeError: two recipes are named, or a run folder where data should be.
    """
    files = [a for a in arguments if not _OVERRIDE.match(a) or Path(a).exists()]
    recipes = [file for file in files if _is_recipe(file)]
    if len(recipes) > 1:
        raise RecipeError(
            f"only one recipe can be given, got {' and '.join(f'`{file}`' for file in recipes)}.",
            remedy="Leave one out. A value is written `section.key=value`.",
        )
    data = [file for file in files if file not in recipes]
    for file in data:
        _refuse_misread(file)
    return next(iter(recipes), None), data, [a for a in arguments if a not in files]


def _is_recipe(argument: str) -> bool:
    path = PurePath(argument)
    return path.suffix.lower() in _RECIPE_ENDINGS or (not path.suffix and Path(argument).is_file())


def _refuse_misread(argument: str) -> None:
    """Raises RecipeError for what is not data, though it stands where data are named."""
    from tunesmith.recipe import SYNONYMS, recipe_keys

    if (Path(argument) / "manifest.json").is_file():
        raise RecipeError(
            f"`{argument}` is a run, not data.",
            remedy=f"`tunesmith train {PurePath(argument) / 'recipe.yaml'}` resumes it.",
        )
    if argument in (*recipe_keys(), *SYNONYMS) and not Path(argument).exists():
        raise RecipeError(
            f"`{argument}` has no value.", remedy=f"Write `{argument}=VALUE`, without spaces around the `=`."
        )


def _refuse_other_splits(files: Sequence[str]) -> None:
    """Raises RecipeError for test rows among several files to train on."""
    for file in files if len(files) > 1 else ():
        if split := _OTHER_SPLITS.get(PurePath(file).name.partition(".")[0].lower()):
            rest = " ".join(other for other in files if other != file)
            raise RecipeError(
                f"`{file}` would be trained on, and its name says {split}.",
                remedy=f"Write `tunesmith train {rest} --{split} {file}`.",
            )


def refuse_existing(path: Path, *, force: bool) -> None:
    """Refuses to overwrite a file without `--force`.

    Raises:
        RecipeError: the file exists.
    """
    if path.exists() and not force:
        raise RecipeError(f"`{path}` already exists.", remedy="Give another name, or `--force`.")
