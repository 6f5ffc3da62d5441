"""From what a caller gives (a file, a mapping, keywords, objects in memory) to a validated recipe."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import DataError, RecipeError
from tunesmith.recipe import Recipe, RecipeDraft

if TYPE_CHECKING:
    from tunesmith.data.formats.memory import Held
    from tunesmith.tasks import Task
    from tunesmith.types import JsonObject

KEYS = {
    "data": "data.train",
    "validation": "data.validation",
    "test": "data.test",
    "columns": "data.columns",
    "max_length": "data.max_length",
    "method": "train.method",
    "epochs": "train.num_train_epochs",
    "learning_rate": "train.learning_rate",
    "batch_size": "train.per_device_train_batch_size",
    "report_to": "train.report_to",
}
"""The recipe's key of each keyword that has another name there."""

_SPLITS = ("train", "validation", "test")
_MARKS = ("#", "://", "parallel:")


def build_recipe(
    recipe: Recipe | str | os.PathLike[str] | Mapping[str, object] | None = None,
    *,
    overrides: Mapping[str, object] | Sequence[str] = (),
    notices: list[str] | None = None,
    held: Any = None,
    label: Any = None,
    text: Any = None,
    labels: object = None,
    replaces: bool = False,
    **values: object,
) -> Recipe:
    """A recipe from a file, a mapping or nothing, with values that override it.

    The `recipe.yaml` of a run folder is that of this run, wherever the folder is now.

    Args:
        recipe: a recipe, a YAML file, a plain mapping, or nothing.
        overrides: `{"train.learning_rate": 1e-4}`, or `["train.learning_rate=1e-4"]`; they win.
        notices: list to which keys that were given under another name are appended.
        held: list to which objects in memory are appended, which are sources as long as it holds them.
        label: the file's column of what is to be predicted, whatever the task calls it.
        text: the file's column of the text, whatever the task calls it.
        labels: what is to be predicted for each of the texts that `data` is.
        replaces: whether the run may take the folder of another one.
        values: `task`, `model`, `data`, `validation`, `test`, `columns`, `output_dir`, and the other names in
            `KEYS`; None sets nothing.

    Raises:
        RecipeError: a key is unknown, or a value is wrong.
        DataError: an object in memory holds no rows; or the task is not named, and the data do not say which one
            they are for.
    """
    from tunesmith.defaults import complete

    draft = _draft_of(recipe)
    for name, value in values.items():
        if value is not None:
            draft.set(KEYS.get(name, name), value, f"argument {name}")
    draft.override_all(overrides)
    objects = _hold_data(draft, labels)
    _name_paths(draft)
    complete(draft, label=label, text=text, is_open=recipe is None, replaces=replaces)
    built = draft.validate()
    if notices is not None:
        notices += draft.notices
    if held is not None:
        held += objects
    return built


def _name_paths(draft: RecipeDraft) -> None:
    """Puts the names of paths in the place of the objects."""
    for key in ("model", "output_dir"):
        if isinstance(path := draft.tree.get(key), os.PathLike):
            draft.tree[key] = os.fspath(path)


def is_recipe(value: object) -> bool:
    """Whether an argument is a recipe, not data: a `Recipe`, a YAML file, or a mapping with keys of a recipe."""
    from tunesmith.data.formats._tables import is_columns, parts_of

    if isinstance(value, str | os.PathLike):
        return Path(value).suffix in (".yaml", ".yml")
    is_tree = isinstance(value, Mapping) and not is_columns(value) and not parts_of(value)
    return isinstance(value, Recipe) or is_tree


def only_one(given: Any, recipe: Any) -> Any:
    """The recipe that was given where data are expected.

    Raises:
        RecipeError: there is another one.
    """
    if recipe is not None:
        raise RecipeError(
            "two recipes are given, one as `data` and one as `recipe`.", remedy="Leave one out."
        )
    return given


def task_of(draft: RecipeDraft) -> Task:
    """The task of a recipe that is not yet validated.

    Raises:
        UnknownNameError: there is no such task.
    """
    from tunesmith.tasks import TASKS

    return TASKS.get(str(draft.tree.get("task", Recipe.model_fields["task"].default)))


def _draft_of(recipe: Recipe | str | os.PathLike[str] | Mapping[str, object] | None) -> RecipeDraft:
    from tunesmith.run import is_recipe_of_run

    if recipe is None:
        return RecipeDraft(tree={"data": {}})
    if isinstance(recipe, Recipe):
        return RecipeDraft(tree=recipe.model_dump(mode="json", exclude_unset=True))
    if isinstance(recipe, Mapping):
        return RecipeDraft(tree=RecipeDraft.copy_tree(recipe))
    path = Path(recipe)
    draft = RecipeDraft.read(path)
    draft.resolve_paths(path.parent)
    if is_recipe_of_run(path):
        folder = path.parent
        draft.set("output_dir", str(folder if folder.name else folder.resolve()), str(path))
    return draft


def _hold_data(draft: RecipeDraft, labels: object) -> list[Held]:
    """Replaces objects in memory by the names under which they are sources, and paths by texts."""
    data, found = _data(draft), []
    for split in _SPLITS:
        if data.get(split) is not None and not isinstance(data[split], int | float):
            data[split], held = as_sources(draft, data[split], split, labels if split == "train" else None)
            found += held
    return found


def as_sources(
    draft: RecipeDraft, value: object, role: str, labels: object = None
) -> tuple[list[str], list[Held]]:
    """Data as the recipe names it, and the objects in memory that are among it.

    Args:
        draft: recipe, for the task and its columns.
        value: a file, several, or rows in memory.
        role: what it is for.
        labels: what is to be predicted for each text, where `value` is texts.

    Raises:
        DataError: it is neither a file nor rows.
    """
    from tunesmith.data.formats.memory import hold

    if labels is None and isinstance(value, str | os.PathLike):
        return [_file(value)], []
    if labels is None and (items := _several(value)):
        parts = [as_sources(draft, item, f"{role or 'data'}-{i}") for i, item in enumerate(items, start=1)]
        return [source for sources, _ in parts for source in sources], [
            one for _, held in parts for one in held
        ]
    held = hold(value, role, labels=labels, names=_names_of_columns(draft))
    return [held.source], [held]


def _file(value: str | os.PathLike[str]) -> str:
    """The path of a file; a text is more likely meant as a text.

    Raises:
        DataError: it is written like a text, and no file has this name.
    """
    path = os.fspath(value)
    is_path = (
        " " not in path or any(mark in path for mark in _MARKS) or os.path.exists(path) or Path(path).suffix
    )
    if is_path:
        return path
    raise DataError(
        f"a text in place of data is taken as the name of a file, and `{path[:60]}` is none.",
        remedy='For texts with labels, give `train(texts, labels=labels)`; for texts alone, `{"text": texts}`.',
    )


def _several(value: object) -> Sequence[object]:
    """The items of a list of files and tables; empty for rows."""
    from tunesmith.data.formats.memory import is_table

    if not isinstance(value, list | tuple):
        return ()
    return value if all(isinstance(item, str | os.PathLike) or is_table(item) for item in value) else ()


def _names_of_columns(draft: RecipeDraft) -> tuple[str, str]:
    """The columns that texts and labels without names get: those that the recipe names, else the task's own."""
    from tunesmith.data.roles import label_columns, text_columns

    task, named = task_of(draft), _columns(draft)
    text, label = (*text_columns(task), "text")[0], (*label_columns(task), "label")[0]
    return str(named.get(text, text)), str(named.get(label, label))


def _columns(draft: RecipeDraft) -> Mapping[str, str | list[str]]:
    columns = _data(draft).get("columns")
    return columns if isinstance(columns, Mapping) else {}


def _data(draft: RecipeDraft) -> JsonObject:
    data = draft.tree.get("data")
    return data if isinstance(data, dict) else {}
