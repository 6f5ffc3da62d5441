"""A commented recipe for a data file: the keys that its task supports, with defaults and one-line descriptions."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tunesmith.data.columns import choose_view
from tunesmith.data.preparing import find_splits
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.reading import read_rows, read_sample, source_name
from tunesmith.effects import not_for_task
from tunesmith.errors import DataError
from tunesmith.recipe import DataRecipe, Recipe, describe_fields, yaml_value
from tunesmith.tasks import TASKS, Task

_SAMPLE_ROWS = 500
_SCHEMES = ("hub", "parallel")
"""What stands before the name in a source that is no file and no URL."""


SCHEMA_FILE = "recipe.schema.json"
"""The JSON Schema of recipes, which `init` writes beside the recipe for editors."""


def starting_recipe(
    task_name: str, source: str, named: Mapping[str, str], *, with_schema: bool = False
) -> tuple[str, dict[str, str]]:
    """The text of a recipe for a data file, and the columns that were chosen.

    Args:
        task_name: name of the task.
        source: a data file, or a folder with train, validation and test files.
        named: columns that the user named, by column of the task.
        with_schema: whether the first line leads editors to `SCHEMA_FILE`, beside the recipe.

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
        "output_dir": f"runs/{run_name(source)}",
        "data.train": data.train[0] if len(data.train) == 1 else data.train,
        "data.validation": data.validation,
        "data.test": data.test,
        "data.columns": chosen,
    }
    first = f"# yaml-language-server: $schema={SCHEMA_FILE}\n" if with_schema else ""
    return first + _render(given, not_for_task(task), _of_decoders(task)), view.chosen


def _of_decoders(task: Task) -> list[str]:
    """Lines on the other kind of models that a writing task can have, and what they have more."""
    if task.decoders is None:
        return []
    decoder: Task = task.decoders.task()
    more = sorted(set(not_for_task(task)) - set(not_for_task(decoder)))
    return [
        f"# A decoder such as {decoder.suggested_model} can do it, too. It also has:",
        f"# {', '.join(more)}.",
    ]


def schema_text() -> str:
    """The JSON Schema of recipes."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def run_name(source: str) -> str:
    """The name that a run of a source gets: `reviews` for `data/reviews.csv.gz`, `imdb` for `hub:imdb:train`."""
    source = source.partition("#")[0]
    scheme, colon, rest = source.partition(":")
    if colon and scheme in _SCHEMES:
        source = rest.partition(":")[0]
    name = Path(source_name(source)).name.lstrip(".").partition(".")[0]
    return re.sub(r"[^\w-]+", "-", name).strip("-") or "run"


def _render(given: Mapping[str, object], left_out: Collection[str], remarks: Sequence[str]) -> str:
    lines = ["# Every key that this task supports. A key that is left out has its default.", *remarks, ""]
    section = ""
    for key, default, description in describe_fields():
        if key in left_out:
            continue
        parent, _, name = key.rpartition(".")
        if parent != section:
            lines += ["", f"{parent}:"]
            section = parent
        value = yaml_value(given[key]) if key in given else default
        lines.append(f"{'  ' if parent else ''}{name}: {value}".ljust(44) + f"  # {description}")
    return "\n".join(lines) + "\n"
