"""What a request leaves open: the task, its columns, the model and the run folder. Every choice is reported.

A recipe file says all of it, or takes the defaults of docs/recipe.md. Who only names a data file (`tunesmith train
reviews.csv`) gets the task that the file is for (`data.guessing`), the task's suggested model, and a run
folder with the name of the file that belongs to no other recipe.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tunesmith.data.guessing import columns_of_roles, guess_task
from tunesmith.data.preparing import data_fingerprint_of, find_splits
from tunesmith.data.recipe_template import run_name
from tunesmith.errors import RecipeError, RunError, UnknownNameError
from tunesmith.recipe import METHODS, Recipe, RecipeDraft
from tunesmith.run import Run
from tunesmith.tasks import TASKS, task_name
from tunesmith.training.processes import launched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunesmith.types import JsonObject


def complete(
    draft: RecipeDraft, *, label: str | None, text: str | None, is_open: bool, replaces: bool = False
) -> None:
    """Fills in what a draft leaves open, and gives its task the name that it has here.

    Args:
        draft: what was asked for; its notices tell what was chosen.
        label: the file's column of what is learned, whatever the task calls it.
        text: the file's column of the text, whatever the task calls it.
        is_open: whether there is no recipe, whose defaults would hold.
        replaces: whether a run of another recipe may be replaced, so that its folder can be taken.

    Raises:
        UserError: the data cannot be read, or do not say which task they are for.
    """
    _rename_task(draft)
    _refuse_task_as_method(draft)
    if is_open and draft.get("task") is None:
        _choose_task(draft, label, text)
    if label is not None or text is not None:
        _name_columns(draft, label, text)
    if is_open:
        _choose_model(draft)
        _choose_folder(draft, replaces=replaces)


def settle(
    task: str | None, source: str, columns: Mapping[str, str], *, label: str | None, text: str | None
) -> tuple[str, dict[str, str], list[str]]:
    """The task of a source, the columns that are named, and notices of what was chosen.

    Args:
        task: name or alias of the task; None guesses it.
        source: a data file or folder.
        columns: columns that the user named, by column of the task.
        label: the file's column of what is learned, whatever the task calls it.
        text: the file's column of the text, whatever the task calls it.

    Raises:
        UserError: the source cannot be read, or does not say which task it is for.
    """
    draft = RecipeDraft(tree={"data": {"train": [source], "columns": dict(columns)}})
    if task is not None:
        draft.set("task", task, "option `--task`")
    _rename_task(draft)
    if task is None:
        _choose_task(draft, label, text)
    if label is not None or text is not None:
        _name_columns(draft, label, text)
    recipe = draft.validate()
    named = {ours: theirs for ours, theirs in recipe.data.columns.items() if isinstance(theirs, str)}
    return recipe.task, named, draft.notices


def _rename_task(draft: RecipeDraft) -> None:
    asked = draft.get("task")
    if not isinstance(asked, str):
        return
    location = draft.places.get("task", "")
    try:
        name = task_name(asked)
    except UnknownNameError as error:
        raise RecipeError(error.rule, remedy=error.remedy, location=location) from None
    if name != asked:
        draft.rename(asked, name, location)
        draft.set("task", name, location)


def _refuse_task_as_method(draft: RecipeDraft) -> None:
    """Raises RecipeError for `train.method=dpo`: what is learned, not how."""
    method = draft.get("train.method")
    if not isinstance(method, str) or method in METHODS:
        return
    try:
        name = task_name(method)
    except UnknownNameError:
        return  # the validation names the methods
    raise RecipeError(
        f"`{method}` is not a method here, but the task `{name}`.",
        location=draft.places.get("train.method", ""),
        remedy=f"Give `--task {name}`; the methods are {', '.join(f'`{known}`' for known in METHODS)}.",
    )


def _choose_task(draft: RecipeDraft, label: str | None, text: str | None) -> None:
    data = draft.validate().data  # every other problem of the request comes first
    guess = guess_task(data.train, data.columns, label=label, text=text)
    if guess is not None:
        draft.set("task", guess.task, "guessed task")
        draft.notices.append(guess.why)


def _name_columns(draft: RecipeDraft, label: str | None, text: str | None) -> None:
    recipe = draft.validate()
    named = dict(recipe.data.columns)
    found = columns_of_roles(TASKS.get(recipe.task), recipe.data.train, named, label=label, text=text)
    for ours, theirs in found.items():
        if named.get(ours, theirs) != theirs:
            raise RecipeError(
                f"the column of `{ours}` is named twice: `{named[ours]}` and `{theirs}`.",
                remedy="Keep one of them.",
            )
    draft.set("data.columns", {**named, **found}, "option `--label`" if label else "option `--text`")


def _choose_model(draft: RecipeDraft) -> None:
    recipe = draft.validate()
    suggested = TASKS.get(recipe.task).suggested_model
    if draft.get("model") is None and suggested != recipe.model:
        draft.set("model", suggested, "suggested model")
        draft.notices.append(f"model: {suggested}, the one that is suggested for `{recipe.task}`")


def _choose_folder(draft: RecipeDraft, *, replaces: bool) -> None:
    """A folder of its own for the run: that of an earlier start of it, else the first that is free."""
    if draft.get("output_dir") is not None:
        return
    recipe = draft.validate()
    name = f"runs/{run_name(recipe.data.train[0])}"
    # Processes that train together look at the folders at different times, and must choose the same.
    found = name if replaces or launched()[1] > 1 else _first_free(recipe, name)
    draft.set("output_dir", found, "chosen folder")
    taken = f"; {name} belongs to another recipe" if found != name else ""
    draft.notices.append(f"run folder: {found} (`--output-dir`){taken}")


def _first_free(recipe: Recipe, name: str) -> str:
    split = find_splits(recipe)
    known: JsonObject = {}
    for number in itertools.count(1):
        folder = name if number == 1 else f"{name}-{number}"
        run = Run(folder)
        if not run.path.exists():
            return folder
        if "data" not in known:
            known["data"] = data_fingerprint_of(split.data)
        try:
            run.begin(recipe, fingerprint=known["data"])
        except (RunError, NotADirectoryError):
            continue
        return folder
    raise AssertionError("itertools.count does not end")
