"""Challengers: runs that learn the new rows, beginning from the champion or from its base model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from tunesmith.data.examples import Examples
from tunesmith.data.splits import hold_out
from tunesmith.data.task_rows import own_columns, write_task_rows
from tunesmith.errors import DataError, RecipeError
from tunesmith.events import Listener
from tunesmith.lifecycle.gathering import REST_FILE, NewRows, OldRows
from tunesmith.lifecycle.merging import Merge, old_rows_to_learn
from tunesmith.pipeline.training import train
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.run.manifest import recipe_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import JsonObject

Start = Literal["champion", "base"]
STARTS: tuple[str, ...] = ("champion", "base", "both")
UPDATE_ENTRY = "update"
"""Entry of the manifest of a challenger."""
_VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class MergedFiles:
    """Files of old and new rows.

    Args:
        train: rows to learn.
        validation: rows by which the best step, and the best challenger, is chosen.
        old_test: old rows to compare on.
        new_test: new rows to compare on.
        rest: old rows that are not learned again, for the next update.
        columns: `data.columns` of all of them.
        rows: number of rows of each file, and how many of the training rows are old.
    """

    train: Path
    validation: Path
    old_test: Path
    new_test: Path
    rest: Path
    columns: JsonObject
    rows: JsonObject


def starts_of(asked: str, champion: Run) -> tuple[Start, ...]:
    """The models that challengers begin from.

    Of a run that trained a head alone, both are the same body.

    Args:
        asked: `champion`, `base` or `both`.
        champion: the champion.

    Raises:
        RecipeError: something else is asked for.
    """
    if asked not in STARTS:
        raise RecipeError(f"`--from {asked}` is not known.", remedy=f"Known: {', '.join(STARTS)}.")
    if asked != "both":
        return (asked,)  # type: ignore[return-value]
    trains_head_alone = champion.recipe().train.method == "probe"
    return ("champion",) if trains_head_alone else get_args(Start)


def write_merged(folder: Path, old: OldRows, new: NewRows, merge: Merge) -> MergedFiles:
    """Writes the files that challengers learn from and are compared on.

    Args:
        folder: folder for the files.
        old: the champion's rows.
        new: the new rows.
        merge: which old rows are learned again.
    """
    task = old.task
    again = old_rows_to_learn(merge, old, len(new.train))
    has_test = "test" in old.splits  # only a run that no update has made has none, and it has no other pool
    old_train, old_held = (again, again[:0]) if has_test else _split(old, old.splits["train"], again)
    new_train, new_held = _split(old, new.examples, new.train)
    not_again = np.setdiff1d(np.arange(sum(map(len, old.pool))), again)
    validation = [old.take("validation")] if has_test else [old.take("train", old_held)]
    files = {
        "train": [*old.take_of_pool(old_train), new.take(task, new_train)],
        "validation": [*validation, new.take(task, new_held)],
        "old_test": [old.take(old.final)],
        "new_test": [new.take(task, new.held)],
        "rest": old.take_of_pool(not_again),
    }
    paths = {name: folder / f"{name}.jsonl" for name in files} | {"rest": folder / REST_FILE}
    rows: JsonObject = {name: write_task_rows(paths[name], task, parts) for name, parts in files.items()}
    columns = own_columns(task, [path for name, path in paths.items() if rows[name]])
    return MergedFiles(**paths, columns=columns, rows={**rows, "old_train": len(old_train)})


def _split(
    old: OldRows, examples: Examples, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn, and rows for validation: as large a share as the champion had."""
    share = _VALIDATION_SHARE
    if "test" in old.splits:
        sizes = [len(old.splits[split]) for split in ("train", "validation")]
        share = sizes[1] / sum(sizes)
    elif isinstance(old.recipe.data.validation, float):
        share = old.recipe.data.validation
    task = old.task
    try:
        kept, held = hold_out(
            examples.take(rows),
            share,
            strata=[column.name for column in task.columns if column.target and column.kind == "category"],
            group_by=old.recipe.data.group_by,
            seed=old.recipe.seed,
            purpose="validation of an update",
            together=[c.name for c in task.columns if c.together and c.name in examples.columns],
        )
    except DataError:  # too few rows to spare one
        return rows, rows[:0]
    return rows[kept], rows[held]


def train_challengers(
    champion: Run,
    starts: Sequence[Start],
    files: MergedFiles,
    folder: Path,
    *,
    listeners: Iterable[Listener],
    should_stop: Callable[[], bool],
) -> dict[Start, Run]:
    """Trains a challenger from each start, or resumes it.

    Args:
        champion: the champion, whose recipe they have.
        starts: models to begin from.
        files: rows.
        folder: folder for the runs.
        listeners: called with every event.
        should_stop: see `pipeline.train`.

    Raises:
        InterruptedRunError: a signal or `should_stop` stopped a training.
    """
    found: dict[Start, Run] = {}
    for start in starts:
        recipe = recipe_of(champion, start, files, folder / f"from-{start}")
        run = train(recipe, listeners=listeners, should_stop=should_stop)
        origin = {"from": start, "champion": str(champion.path.resolve()), "base": base_of(champion)}
        run.update_manifest(**{UPDATE_ENTRY: origin})
        found[start] = run
    return found


def recipe_of(champion: Run, start: Start, files: MergedFiles, output_dir: Path) -> Recipe:
    """The champion's recipe as it was asked for, with other rows and another start."""
    manifest = champion.manifest()
    key = "requested" if "requested" in manifest else "used"
    asked = recipe_in(manifest, key, champion.manifest_file)
    tests = [str(path) for path in (files.old_test, files.new_test) if path.stat().st_size]
    merged = asked.replace(
        data={
            "train": [str(files.train)],
            "validation": [str(files.validation)],
            "test": tests,
            "columns": files.columns,
            "fold": None,  # the test rows are those above
        },
        train={"folds": None},
    )
    model = str(champion.path.resolve()) if start == "champion" else base_of(champion)
    return merged.model_copy(update={"model": model, "output_dir": str(output_dir)})


def base_of(run: Run) -> str:
    """The model that a run, or the first champion before it, began from."""
    known = run.manifest().get(UPDATE_ENTRY, {})
    return str(known.get("base") or run.recipe().model)
