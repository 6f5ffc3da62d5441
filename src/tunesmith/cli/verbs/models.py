"""`tunesmith models`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from tunesmith.cli.arguments import COLUMN, DATA, JSON, LABEL, MODEL, OUTPUT, TASK, TEXT, parse_columns
from tunesmith.errors import RecipeError

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

EXAMPLES = (
    "tunesmith models reviews.csv",
    "tunesmith models reviews.csv --probe --add models/mine",
    "tunesmith models --task summarization",
    "tunesmith models google-bert/bert-base-uncased",
)

_FILES_OF_MODELS = ("config.json", "manifest.json", "adapter_config.json")
_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")

_DATA = typer.Option([], "--data", help="A data file. Repeatable.", rich_help_panel=DATA)
_ADD = typer.Option(
    [],
    "--add",
    metavar="ID",
    help="A folder, a run, or a model in the local Hub cache that joins the list. Repeatable.",
    rich_help_panel=MODEL,
)
_PROBE = typer.Option(
    False,
    "--probe",
    help="Score the models on this machine by a linear probe on a sample of the rows.",
    rich_help_panel=MODEL,
)
_SECONDS = typer.Option(
    30.0,
    "--seconds",
    min=0,
    help="Time for measurements; what is left then is estimated.",
    rich_help_panel=MODEL,
)
_LIMIT = typer.Option(
    8, "--limit", min=1, help="Models that are shown of each group.", rich_help_panel=OUTPUT
)
_ALL = typer.Option(
    False, "--all", help="Show every model, and those that cannot do it, too.", rich_help_panel=OUTPUT
)


def verb(
    arguments: list[str] = typer.Argument(
        None, metavar="DATA|RECIPE|MODEL", help="Data files or a recipe; or one model, whose facts are shown."
    ),
    data: list[str] = _DATA,
    label: Optional[str] = LABEL,
    text: Optional[str] = TEXT,
    column: list[str] = COLUMN,
    task: Optional[str] = TASK,
    add: list[str] = _ADD,
    probe: bool = _PROBE,
    seconds: float = _SECONDS,
    limit: int = _LIMIT,
    show_all: bool = _ALL,
    as_json: bool = JSON,
) -> None:
    """Show base models for a task, its data and this machine, and why.

    The list has well-known open models, those in the local Hub cache and in installed packages, and those of
    `--add`. Time and memory are measured with a few layers of each model. Nothing is downloaded. For one model,
    its facts are shown with their sources.
    """
    from tunesmith.api import suggest_models
    from tunesmith.cli.output import print_json, print_line
    from tunesmith.reports import models_lines
    from tunesmith.run.locking import refuse_several_processes

    refuse_several_processes()
    sources = [*(arguments or []), *data]
    if len(sources) == 1 and not data and _is_model(sources[0]):
        _print_facts(sources[0], as_json=as_json)
        return
    found = suggest_models(
        _one_or_several(sources), task=task, label=label, text=text, columns=parse_columns(column) or None,
        add=add, probe=probe, max_seconds=seconds,
    )  # fmt: skip
    if as_json:
        print_json(found)
        return
    for line in models_lines(found, limit=None if show_all else limit, with_unfit=show_all):
        print_line(line)


def _is_model(argument: str) -> bool:
    """Whether an argument names a model: a folder with a config, a run, a GGUF file, or what reads like an id."""
    path = Path(argument).expanduser()
    if path.is_dir():
        return any((path / name).is_file() for name in _FILES_OF_MODELS)
    if path.exists():
        return path.suffix == ".gguf"
    is_file = path.suffix[1:].isalpha()  # `rows.csv`, and not `Qwen2.5-7B`
    return _is_known(argument) or (bool(_ID.fullmatch(argument)) and not is_file)


def _is_known(argument: str) -> bool:
    from tunesmith.models.catalogue import find_known

    return find_known(argument) is not None


def _print_facts(name: str, *, as_json: bool) -> None:
    from tunesmith.cli.output import print_json, print_line
    from tunesmith.pipeline import describe_model
    from tunesmith.reports import facts_lines

    facts: JsonObject = describe_model(name)
    if as_json:
        print_json(facts)
        return
    for line in facts_lines(facts):
        print_line(line)


def _one_or_several(sources: list[str]) -> list[str] | str | None:
    """The data as `suggest_models` takes them.

    Raises:
        RecipeError: a recipe stands among data files.
    """
    recipes = [source for source in sources if Path(source).suffix in (".yaml", ".yml")]
    if recipes and len(sources) > 1:
        raise RecipeError(
            f"`{recipes[0]}` is a recipe, and other sources are given too.", remedy="Give one or the other."
        )
    return sources[0] if len(sources) == 1 else sources or None
