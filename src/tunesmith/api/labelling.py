"""`label`: rows worth labelling next."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tunesmith.api.keywords import suggesting
from tunesmith.api.recipes import as_sources
from tunesmith.api.using import Folder, open_door, showing
from tunesmith.recipe import RecipeDraft

if TYPE_CHECKING:
    from tunesmith.events import Listener
    from tunesmith.types import JsonObject


@suggesting
def label(
    model: Folder,
    data: Any,
    *,
    n: int = 50,
    output: str | os.PathLike[str] | None = None,
    task: str | None = None,
    columns: Mapping[str, str | list[str]] | None = None,
    seed: int = 42,
    force: bool = False,
    progress: bool = True,
    listeners: Iterable[Listener] = (),
) -> JsonObject:
    """Picks the rows of a pool that are worth labelling next, into a file to fill in.

    Args:
        model: a run, or its folder; or a base model, where there is no run yet.
        data: a file of rows without labels, several, or rows in memory.
        n: number of rows to pick.
        output: the file to fill in: .csv, .tsv, .jsonl or .parquet; named after the pool when None.
        task: the task whose labels are wanted, where `model` is no run; text-classification when None.
        columns: the data's column for each of the task's; those of the run when None.
        seed: seed of every random choice.
        force: replace an earlier file.
        progress: whether to show what happens.
        listeners: called with every event (`tunesmith.events`).

    Returns:
        What `tunesmith label --json` prints.

    Raises:
        UserError: the model, the data or the output cannot be used.
    """
    from tunesmith import pipeline

    open_door()
    sources, _held = as_sources(RecipeDraft(tree={"data": {}}), data, "pool")
    with showing(progress, listeners) as shown:
        return pipeline.label(
            model,
            sources,
            n=n,
            task=task,
            columns=columns,
            output=output,
            seed=seed,
            force=force,
            listeners=shown,
        )
