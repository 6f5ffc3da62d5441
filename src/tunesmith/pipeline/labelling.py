"""`label`: the rows of a pool that are worth labelling next, into a file to fill in.

With a run, rows are picked by how unsure its model is of them and by how unlike each other they are; with a base
model alone, by the second. Rows that the run was trained on, or nearly, are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.data.columns import View
from tunesmith.data.examples import distinct_names
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.to_label import Targets, columns_in, default_file, refuse_file, write_to_label
from tunesmith.data.train_texts import read_train_texts
from tunesmith.errors import ModelError, RecipeError
from tunesmith.evaluation.neighbours import TrainingVectors
from tunesmith.events import Events, Listener
from tunesmith.inference.embedding import open_embedder
from tunesmith.inference.label_choice import Worth, choose, unit
from tunesmith.inference.pool import Pool, read_pool
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.prepared import as_examples
from tunesmith.inference.row_worth import worth_of
from tunesmith.inference.rows import CHUNK_ROWS, needed_inputs
from tunesmith.pipeline.more_labels import expected_gain
from tunesmith.run import Run
from tunesmith.tasks import TASKS, Task, task_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.inference.embedder import Embedder
    from tunesmith.types import JsonObject

TRAINED_ON = "were trained on"
_DEFAULT_TASK = "text-classification"


@dataclass(frozen=True)
class Chooser:
    """What rows are picked with.

    Args:
        task: task whose labels are wanted.
        predictor: reads rows; that of a run also answers them.
        run: the run; None for a base model.
        embedder: vectors of a base model; None for a run.
    """

    task: Task
    predictor: Predictor
    run: Run | None = None
    embedder: Embedder | None = None

    def targets(self, view: View) -> Targets:
        """The file's columns that are to be labelled: those of the training, else those that the task needs."""
        wanted = [column.name for column in self.task.columns if column.target]
        known = next(iter(self.run.read_as()), {}) if self.run is not None else {}
        lacks = self.task.layouts.lacks if self.task.layouts is not None else None
        if lacks is not None:
            inputs = [name for name in view.chosen if name not in wanted]
            wanted = [lacks(inputs if view.named else ["text"], True)]
        found = {name: known[name] for name in wanted if name in known}
        return found or {name: view.named.get(name, name) for name in wanted}


def label(
    model: str | os.PathLike[str],
    sources: Sequence[str],
    *,
    n: int = 50,
    task: str | None = None,
    columns: Mapping[str, str | list[str]] | None = None,
    output: str | os.PathLike[str] | None = None,
    seed: int = 42,
    force: bool = False,
    listeners: Iterable[Listener] = (),
) -> JsonObject:
    """Writes the rows of a pool that are worth labelling next.

    Args:
        model: a run; or a base model, where there is no run yet.
        sources: files, folders or Hub names with rows without labels.
        n: number of rows to pick.
        task: task whose labels are wanted, where `model` is no run.
        columns: the pool's column for each of the task's; those of the run when None.
        output: file to write; named after the pool when None.
        seed: random seed.
        force: replace an earlier file.
        listeners: called with every event (`tunesmith.events`).

    Returns:
        `output`, `rows` (number), `picked` (each with `row`, and what the run knows of it), `pool` (rows),
        `left_out` (rows by reason), `by`, `columns`, `to_fill_in` (columns), and `expected`.

    Raises:
        UserError: the model, the pool or the output cannot be used.
    """
    if n < 1:
        raise RecipeError(f"the number of rows must be 1 or more, got {n}.", remedy="Example: `--n 50`.")
    events = Events(tuple(listeners))
    chooser = _open(model, task, columns or {})
    file = Path(output) if output is not None else default_file(chooser.task, sources[0])
    refuse_file(file, force=force)
    for note in chooser.predictor.notes:
        events.note(note)
    events.stage("read", "Reading the pool")
    pool = _read(chooser, sources, columns or {}, seed)
    events.note(_said_of(pool))
    events.stage("choose", "Picking rows")
    worth = _worth(chooser, pool, events)
    picked = choose(worth, n, seed, labelled=_labelled(chooser))
    _write(file, chooser.task, pool, picked)
    return {
        "output": str(file),
        "rows": len(picked),
        "picked": _entries(pool, worth, picked),
        "pool": pool.n_rows,
        "left_out": dict(pool.left_out),
        "by": "diversity" if worth.uncertainty is None else "uncertainty and diversity",
        "columns": pool.view.chosen,
        "to_fill_in": columns_in(pool.targets),
        "expected": None if chooser.run is None else expected_gain(chooser.run, len(picked), events),
    }


def _open(model: str | os.PathLike[str], task: str | None, columns: Mapping[str, str | list[str]]) -> Chooser:
    """What rows are picked with.

    Raises:
        RecipeError: `task` is given for a run of another one.
        ModelError: the model says nothing of single rows.
    """
    if not (Path(model) / "manifest.json").is_file():
        wanted = TASKS.get(task_name(task or _DEFAULT_TASK))
        _refuse_task(wanted)
        embedder = open_embedder(model)
        predictor = embedder.predictor
        assert isinstance(predictor, Predictor)
        return Chooser(wanted, predictor, embedder=embedder)
    run = Run.open(model)
    predictor = Predictor.from_run(model)
    if task is not None and task_name(task) != predictor.task.name:
        raise RecipeError(
            f"`{run.path}` is a run for {predictor.task.name}, and `--task` says {task_name(task)}.",
            remedy="Leave `--task` out.",
        )
    _refuse_task(predictor.task)
    return Chooser(predictor.task, predictor, run)


def _refuse_task(task: Task) -> None:
    if task.uncertainty is None:
        able = [name for name in TASKS.names() if TASKS.get(name).uncertainty is not None]
        raise ModelError(
            f"rows are picked for tasks with labels, and {task.name} has none.",
            remedy=f"Tasks: {', '.join(f'`{name}`' for name in able)}.",
        )


def _read(
    chooser: Chooser, sources: Sequence[str], columns: Mapping[str, str | list[str]], seed: int
) -> Pool:
    """The rows of the pool that the run was not trained on."""
    remembered = chooser.predictor.columns if chooser.run is not None else ()
    needed = chooser.predictor.needed if chooser.run is not None else needed_inputs(chooser.task, ())
    options = ReadOptions(columns, remembered=remembered)
    pool = read_pool(chooser.task, needed, sources, options, chooser.targets, seed=seed)
    texts = None if chooser.run is None else read_train_texts(chooser.run.data)
    if texts is None:
        return pool
    similarity = texts.seen(as_examples(chooser.task, [row.inputs for row in pool.rows]))
    return pool.without(np.flatnonzero(similarity > 0), TRAINED_ON)


def _said_of(pool: Pool) -> str:
    reasons = "".join(f"; {n:,} {why}" for why, n in pool.left_out.items())
    return f"{pool.n_rows:,} rows in the pool, {len(pool.rows):,} to pick from{reasons}"


def _worth(chooser: Chooser, pool: Pool, events: Events) -> Worth:
    """What is known of each row: vectors, and how unsure the model is of it."""
    advance, parts = events.progress("texts"), []
    for start in range(0, len(pool.rows), CHUNK_ROWS):
        rows = [row.inputs for row in pool.rows[start : start + CHUNK_ROWS]]
        if chooser.embedder is not None:
            parts.append(Worth(chooser.embedder.rows([{"text": _whole_text(row)} for row in rows])))
        else:
            parts.append(worth_of(chooser.predictor, rows))
        advance(min(start + CHUNK_ROWS, len(pool.rows)), len(pool.rows))
    return Worth.join(parts)


def _whole_text(row: JsonObject) -> str:
    """The texts of a row, one after the other."""
    return "\n".join(value for value in row.values() if isinstance(value, str))


def _labelled(chooser: Chooser) -> NDArray[np.float32] | None:
    """The vectors of rows that the run was trained with, where the choice needs them."""
    uncertainty = chooser.task.uncertainty
    if chooser.run is None or uncertainty is None or uncertainty.of is not None:
        return None
    training = TrainingVectors.load(chooser.run.data)
    return None if training is None else unit(training.vectors.astype(np.float32))


def _write(file: Path, task: Task, pool: Pool, picked: NDArray[np.int64]) -> None:
    view, rows = pool.view, [pool.rows[number].row.values for number in picked]
    read = view.values(rows[0])
    if not view.named:  # a format of whole rows: the task's own columns say the same
        inputs = [column.name for column in task.columns if not column.target]
        rows = [{name: value for name, value in view.values(row).items() if name in inputs} for row in rows]
    write_to_label(file, task, rows, {k: v for k, v in read.items() if k not in pool.targets}, pool.targets)


def _entries(pool: Pool, worth: Worth, picked: NDArray[np.int64]) -> list[JsonObject]:
    names = distinct_names(dict.fromkeys(row.file for row in pool.rows))
    entries: list[JsonObject] = []
    for number in picked:
        row = pool.rows[number]
        entry: JsonObject = {"row": f"{names[row.file]}:{row.row.line}"}
        if worth.uncertainty is not None:
            entry["uncertainty"] = round(float(worth.uncertainty[number]), 4)
        entries.append(entry)
    return entries
