"""A commented recipe for a data file: every key with its default and a one-line description."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tunesmith.data.columns import choose_view
from tunesmith.data.preparing import find_splits
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.reading import read_rows, read_sample, source_name
from tunesmith.errors import DataError
from tunesmith.recipe import DataRecipe, Recipe, describe_fields, yaml_value
from tunesmith.tasks import TASKS

_SAMPLE_ROWS = 500


def starting_recipe(task_name: str, source: str, named: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The text of a recipe for a data file, and the columns that were chosen.

    Args:
        task_name: name of the task.
        source: a data file, or a folder with train, validation and test files.
        named: columns that the user named, by column of the task.

    Raises:
        DataError: the source cannot be read, or the choice of columns is ambiguous.
    """
    task = TASKS.get(task_name)
    data = find_splits(Recipe(data=DataRecipe(train=[source]))).data
    _, sample = read_sample(read_rows(data.train[0]), _SAMPLE_ROWS)
    if not sample:
        raise DataError(
            f"no row of `{source_name(data.train[0])}` can be read.", remedy="Check the file's format."
        )
    view = choose_view(task, sample, ReadOptions(named), location=source_name(data.train[0]))
    # A format that was recognised is recognised again in training.
    chosen = {} if "rows" in view.chosen else view.chosen
    given = {
        "task": task_name,
        "model": task.suggested_model,
        "output_dir": f"runs/{Path(source_name(source)).stem or 'run'}",
        "data.train": data.train[0] if len(data.train) == 1 else data.train,
        "data.validation": data.validation,
        "data.test": data.test,
        "data.columns": chosen,
    }
    return _render(given), view.chosen


def _render(given: Mapping[str, object]) -> str:
    lines = ["# Every key with its default. A key that is left out has its default.", ""]
    section = ""
    for key, default, description in describe_fields():
        parent, _, name = key.rpartition(".")
        if parent != section:
            lines += ["", f"{parent}:"]
            section = parent
        value = yaml_value(given[key]) if key in given else default
        lines.append(f"{'  ' if parent else ''}{name}: {value}".ljust(44) + f"  # {description}")
    return "\n".join(lines) + "\n"
