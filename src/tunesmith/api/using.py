"""What is done with a finished run: `load`, `predict`, `embed`, `evaluate`, `export`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith._telemetry import switch_off_telemetry
from tunesmith.api.keywords import suggesting
from tunesmith.api.recipes import as_sources, task_of
from tunesmith.api.shown import Metrics
from tunesmith.errors import RecipeError
from tunesmith.progress import display, leave_out_widgets
from tunesmith.recipe import RecipeDraft

if TYPE_CHECKING:
    from tunesmith.data.formats.memory import Held
    from tunesmith.events import Listener
    from tunesmith.inference.predictor import Predictor
    from tunesmith.types import JsonObject

Folder = str | os.PathLike[str]
"""A run: its folder, or the `Run` that `train` returned."""


@suggesting
def load(run: Folder) -> Predictor:
    """The predictor of a finished run, or of an export: `load("runs/reviews")("a text")`.

    Args:
        run: the run, or its folder.

    Raises:
        RunError: there is no finished run in the folder.
    """
    from tunesmith.inference.predictor import Predictor

    open_door()
    return Predictor.from_run(run)


@suggesting
def predict(run: Folder, data: Any, *, top_k: int | None = 1, coverage: float | None = None) -> Any:
    """Answers of a run: one for a text or a row, a list for several; each is plain JSON.

    Args:
        run: the run, or its folder. `load` keeps the model in memory for more than one call.
        data: a text; a row, as a mapping of columns; a list, an array or a Series of these; a DataFrame, a
            `datasets.Dataset` or columns; or the `Path` of a file.
        top_k: with 2 or more, the entry `top` of each answer holds the best K labels (or answers); with None, all.
        coverage: probability with which the labels in `set` hold the true one, or the numbers in `interval` the
            true number; no sets when None.

    Raises:
        RunError: there is no finished run in the folder.
        RowError: a text or a row cannot be used.
        DataError: a row of a table or of a file cannot be used.
        RecipeError: sets with this coverage cannot be made.
    """
    return load(run)(data, top_k=top_k, coverage=coverage)


@suggesting
def embed(
    model: Folder,
    data: Any,
    *,
    output: str | os.PathLike[str] | None = None,
    text: str | None = None,
    columns: Mapping[str, str | list[str]] | None = None,
    normalize: bool = False,
    force: bool = False,
) -> Any:
    """Vectors of texts: an array, or a file of vectors.

    Args:
        model: a run, or any encoder: a folder or a Hub id.
        data: without `output`, what `predict` takes; with it, a file, several, or rows in memory.
        output: the file to write: .parquet, .npy or .jsonl.
        text: the column of the texts, where `output` is given.
        columns: the data's column for each of the task's, where `output` is given.
        normalize: scale every vector to length 1, also where the model does not.
        force: replace an earlier file.

    Returns:
        Vectors in float32, [dimensions] of a text and [texts, dimensions] of several; with `output`, what
        `tunesmith embed --json` prints.

    Raises:
        UserError: the model has no vector for a text, or the data cannot be used.
        RowError: a text is empty or not text.
    """
    from tunesmith.data.vector_files import refuse_output
    from tunesmith.inference.embedding import embed_files, open_embedder

    open_door()
    if output is None:
        if text is not None or columns:
            raise RecipeError(
                "`text` and `columns` have no effect without `output`.",
                remedy="Give the texts themselves, such as `table['column']`.",
            )
        return open_embedder(model, normalize=normalize)(data)
    refuse_output(Path(output), force=force)
    sources, _held = as_sources(RecipeDraft(tree={"task": "text-similarity", "data": {}}), data, "")
    named = {**(columns or {}), **({} if text is None else {"text": text})}
    return embed_files(open_embedder(model, normalize=normalize), sources, named, Path(output), force=force)


@suggesting
def evaluate(
    run: Folder,
    data: Any,
    *,
    labels: Any = None,
    label: str | None = None,
    text: str | None = None,
    columns: Mapping[str, str | list[str]] | None = None,
    output: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, object] | Sequence[str] = (),
    force: bool = False,
    progress: bool = True,
    listeners: Iterable[Listener] = (),
) -> Metrics:
    """Scores of a run on other data, as in `metrics.json`.

    Args:
        run: the run, or its folder.
        data: a file, or several; rows in memory, as for `train`; or texts, with `labels`.
        labels: what is right for each of the texts.
        label: the column of what is to be predicted, if training used another one.
        text: the column of the text, if training used another one.
        columns: the data's column for each of the task's; those of the run when None.
        output: the file to write: a report (.html), or the scores (.json); none when None.
        overrides: values of the recipe's `evaluate` for these rows: `{"evaluate.groups": ["dialect"]}`.
        force: replace an earlier file.
        progress: whether to show what happens.
        listeners: called with every event (`tunesmith.events`).

    Raises:
        UserError: the run or the data cannot be used.
    """
    from tunesmith import pipeline
    from tunesmith.data.guessing import columns_of_roles

    open_door()
    sources, _held = as_sources(draft_of(run), data, "", labels)  # held until the scores are there
    named = dict(columns or {})
    if label is not None or text is not None:
        named |= columns_of_roles(task_of(draft_of(run)), sources, named, label=label, text=text)
    with showing(progress, listeners) as shown:
        return Metrics(
            pipeline.evaluate(
                run,
                sources,
                columns=named or None,
                output=output,
                overrides=overrides,
                force=force,
                listeners=shown,
            )
        )


@suggesting
def export(
    run: Folder,
    to: str,
    *,
    output_dir: str | os.PathLike[str] | None = None,
    data: Any = None,
    columns: Mapping[str, str | list[str]] | None = None,
    overrides: Mapping[str, object] | Sequence[str] = (),
    force: bool = False,
    progress: bool = True,
    listeners: Iterable[Listener] = (),
) -> JsonObject:
    """A run in another format, checked against the run; `load` opens its folder as that of a run.

    Args:
        run: the run, or its folder.
        to: the format: `merged`, `bf16`, `onnx`, `onnx-int8`.
        output_dir: the folder to write; beside the run, with the format's name after its own, when None.
        data: rows to check with, as for `evaluate`, where those of the run are gone. Rows that the run was trained
            with, given again, count as its own.
        columns: the data's column for each of the task's; those of the run when None.
        overrides: what the export may lose: `{"export.max_metric_drop": 0.02}`.
        force: replace an earlier export.
        progress: whether to show what happens.
        listeners: called with every event (`tunesmith.events`).

    Returns:
        The content of the folder's `export.json`, and `path`.

    Raises:
        UserError: the run or its data cannot be used, or the export loses more than is allowed.
    """
    from tunesmith import exporting

    open_door()
    sources, _held = ([], []) if data is None else as_sources(draft_of(run), data, "")
    own = _own_rows(run, _held)  # held, as `_held`, until the export is done
    if own:
        sources = []
    with showing(progress, listeners) as shown:
        return exporting.export(
            run,
            to,
            output_dir=output_dir,
            data=sources,
            columns=columns,
            overrides=overrides,
            force=force,
            listeners=shown,
        )


def open_door() -> None:
    """What comes before all that other libraries do for a caller."""
    switch_off_telemetry()
    leave_out_widgets()


@contextmanager
def showing(progress: bool, listeners: Iterable[Listener]) -> Iterator[list[Listener]]:
    """The caller's listeners, and the display that suits where the program runs."""
    if not progress:
        yield list(listeners)
        return
    with display() as shown:
        yield [*listeners, shown]


def _own_rows(run: Folder, held: list[Held]) -> list[Held]:
    """The objects as the sources of a run, where they are all of its sources; none where they are others."""
    from tunesmith.data.formats.memory import hold_again
    from tunesmith.data.preparing import all_sources
    from tunesmith.run import Run

    sources = all_sources(Run.open(run).recipe().data)
    found = [again for one in held for again in hold_again(one, sources)]
    return found if {again.source for again in found} >= set(sources) else []


def draft_of(run: Folder) -> RecipeDraft:
    """The task of a run, and the columns that it was trained with."""
    from tunesmith.run import Run

    opened = Run.open(run)
    columns = next(iter(opened.read_as()), {})
    return RecipeDraft(tree={"task": opened.recipe().task, "data": {"columns": columns}})
