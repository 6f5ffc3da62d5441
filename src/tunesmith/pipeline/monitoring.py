"""`monitor`: what has changed since the training, in windows of a file's rows or of a prediction log."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.data.columns import View, choose_view
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.reading import Row, read_rows, read_sample
from tunesmith.errors import DataError, RecipeError
from tunesmith.events import Events, Listener
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.rows import CHUNK_ROWS, read_inputs
from tunesmith.masking import masked_argument, masked_values
from tunesmith.monitoring.observed import Observed
from tunesmith.monitoring.prediction_log import read_log
from tunesmith.monitoring.reading import as_numbers, judge, observe_answers, observe_log, with_texts
from tunesmith.monitoring.texts import text_of_row
from tunesmith.monitoring.watching import ALPHA, watch, windows_of
from tunesmith.pipeline.reference import answer_with_vectors, reference_of, vectors_of
from tunesmith.run import Run
from tunesmith.tasks import RowError

if TYPE_CHECKING:
    from tunesmith.monitoring.reference import Reference
    from tunesmith.types import JsonObject

WINDOW = 500
_FEWEST_ROWS = 50
_SAMPLE_ROWS = 500


def monitor(
    path: str | os.PathLike[str],
    *,
    data: Sequence[str] = (),
    log: str | None = None,
    columns: Mapping[str, str | list[str]] | None = None,
    window: int = WINDOW,
    last: int | None = None,
    served_as: str | None = None,
    alpha: float = ALPHA,
    listeners: Iterable[Listener] = (),
) -> JsonObject:
    """Windows of rows against the reference of a run.

    Args:
        path: run folder.
        data: files whose rows the run answers, in the order of time.
        log: folder or URL of a prediction log, whose answers are read.
        columns: the file's column for each of the task's; those of the run when None.
        window: rows of a window.
        last: number of the newest windows to measure; all when None.
        served_as: name of the run in the log; that of its folder when None.
        alpha: probability of a false alarm in 30 windows.
        listeners: called with every event (`tunesmith.events`).

    Raises:
        UserError: the run, the log, a file, a column, a row or an argument cannot be used.
    """
    _refuse_arguments(data, log, window, last, served_as, alpha)
    events, run = Events(listeners), Run.open(path)
    predictor = Predictor.from_run(path)
    for note in predictor.notes:
        events.note(note)
    events.stage("read", "Reading the rows")
    reference = reference_of(run, predictor, events)
    if log is not None:
        source = _of_log(predictor, reference, log, served_as or run.path.resolve().name)
    else:
        source = _of_files(predictor, reference, data, columns or {})
    windows, waiting = windows_of(source.rows, window, is_complete=log is None)
    skipped = max(len(windows) - last, 0) if last is not None else 0
    events.stage("monitor", f"Measuring {len(windows) - skipped} windows")
    completed = [one if number < skipped else source.complete(one) for number, one in enumerate(windows)]
    found = watch(
        reference, completed, alpha=alpha, seed=run.recipe().seed, skipped=skipped,
        advance=events.progress("windows"),
    )  # fmt: skip
    return {
        "run": str(run.path),
        "run_id": run.run_id,
        "task": predictor.task.name,
        "source": masked_values({"log": log} if log is not None else {"data": list(data)}, masked_argument),
        "window": window,
        "rows": len(source.rows),
        "waiting": waiting,
        "reference": {"rows": len(reference.rows), "split": reference.split},
        **found,
        "notes": [*source.notes, *_notes(waiting, window), *found["notes"]],
    }


def _refuse_arguments(
    data: Sequence[str], log: str | None, window: int, last: int | None, served_as: str | None, alpha: float
) -> None:
    if bool(data) == (log is not None):
        raise RecipeError(
            f"`monitor` reads rows of a file or answers of a log, got {'both' if data else 'neither'}.",
            remedy="Give `--data FILE`, or `--log DIR`.",
        )
    if window < _FEWEST_ROWS:
        raise RecipeError(
            f"a window must have at least {_FEWEST_ROWS} rows, got {window}.",
            remedy="Give more: `--window 500`.",
        )
    if last is not None and last < 1:
        raise RecipeError(f"the newest windows must be at least 1, got {last}.", remedy="Leave `--last` out.")
    if served_as is not None and log is None:
        raise RecipeError("`--served-as` has no effect without a log.", remedy="Leave it out.")
    if not 0 < alpha < 1:
        raise RecipeError(f"alpha must be between 0 and 1, got {alpha}.", remedy="Leave it at 0.05.")


def _notes(waiting: int, window: int) -> Iterator[str]:
    if waiting:
        yield f"{waiting:,} rows wait until there are {window:,}"


@dataclass(frozen=True)
class _Source:
    """Rows that are cut into windows, and how the rows of a window are completed.

    Args:
        rows: all rows, with what costs nothing.
        complete: gives the rows of a window with vectors, answers and facts of their texts.
        notes: what the user should know.
    """

    rows: Observed
    complete: Callable[[Observed], Observed]
    notes: Sequence[str] = ()


# ---- rows of files ----


@dataclass(frozen=True)
class _Read:
    """Rows of files: what the model reads, the true answers (None where unknown), and where each is."""

    inputs: list[JsonObject]
    gold: list[Any]
    names: list[str]
    unknown_labels: int


def _of_files(
    predictor: Predictor, reference: Reference, sources: Sequence[str], columns: Mapping[str, Any]
) -> _Source:
    read = _read_files(predictor, sources, columns)
    rows = Observed(len(read.inputs), {"at": np.arange(float(len(read.inputs)))}, names=read.names)
    notes = []
    if read.unknown_labels:
        notes.append(
            f"{read.unknown_labels:,} rows have a label that the run does not know, and count as unlabelled"
        )

    def complete(window: Observed) -> Observed:
        numbers = window.number("at").astype(np.int64).tolist()
        parts = [
            _answered(predictor, reference, [read.inputs[i] for i in some], [read.gold[i] for i in some])
            for some in (numbers[a : a + CHUNK_ROWS] for a in range(0, len(numbers), CHUNK_ROWS))
        ]
        return replace(Observed.join(parts), names=window.names)

    return _Source(rows, complete, notes)


def _answered(
    predictor: Predictor, reference: Reference, inputs: list[JsonObject], gold: Sequence[Any]
) -> Observed:
    """Rows as the run answers them; texts that it would have to write are not written."""
    task = predictor.task
    predictions, vectors, tokens = answer_with_vectors(predictor, inputs)
    numbers: dict[str, Any] = {}
    answers = None
    if predictions is not None:
        numbers, answers = observe_answers(task, predictor.label_schema, predictions, reference.labels)
        numbers["correct"] = as_numbers(
            np.nan if one is None else judge(task, it, one) for it, one in zip(predictions, gold, strict=True)
        )
    rows = Observed(len(inputs), {**numbers, "tokens": tokens}, vectors, answers=answers)
    return with_texts(rows, [text_of_row(row, task.inputs) for row in inputs], reference.vocabulary)


def _read_files(predictor: Predictor, sources: Sequence[str], columns: Mapping[str, Any]) -> _Read:
    found = _Read([], [], [], 0)
    n_unknown = 0
    for source in sources:
        rows = read_rows(source)
        head, sample = read_sample(rows, _SAMPLE_ROWS)
        if not head:
            continue
        view, has_targets = _view(predictor, sample, columns, head[0][0])
        for file, row in itertools.chain(head, rows):
            found.inputs.append(_inputs(predictor, row, view, file))
            gold, is_unknown = _gold(predictor, row, view) if has_targets else (None, False)
            found.gold.append(gold)
            n_unknown += is_unknown
            found.names.append(f"{PurePath(file).name}:{row.line}")
    if not found.inputs:
        raise DataError("there are no rows to watch.", remedy="Give a file with rows below its header.")
    return replace(found, unknown_labels=n_unknown)


def _view(
    predictor: Predictor, sample: Sequence[Any], columns: Mapping[str, Any], location: str
) -> tuple[View, bool]:
    """How rows are read, and whether they have what is to be predicted."""
    options = ReadOptions(columns, remembered=predictor.columns)
    targets = {column.name for column in predictor.task.columns if column.target}
    try:
        view = choose_view(
            predictor.task, sample, options, location=location, label_schema=predictor.label_schema
        )
    except DataError:
        if targets & set(columns):
            raise
        return choose_view(predictor.task, sample, options, location=location, need_targets=False), False
    return view, True


def _inputs(predictor: Predictor, row: Row, view: View, file: str) -> JsonObject:
    try:
        return read_inputs(predictor.task, predictor.needed, row, view)
    except RowError as error:
        raise DataError(
            f"the row cannot be used: {error}", location=row.location(file), remedy="Fix it, or leave it out."
        ) from None


def _gold(predictor: Predictor, row: Row, view: View) -> tuple[Any, bool]:
    """The true answer of a row, None where it has none; and whether it has one that the run does not know."""
    task, values = predictor.task, view.values(row.values)
    if all(values.get(name) in (None, "") for name in task.outputs):
        return None, False
    try:
        read = task.read(values)
        task.check_targets(read, predictor.label_schema)
    except RowError:
        return None, True
    return task.gold({name: [value] for name, value in read.items()}, predictor.label_schema)[0], False


# ---- answers of a log ----


def _of_log(predictor: Predictor, reference: Reference, place: str, name: str) -> _Source:
    entries = _entries(place, name)
    rows = observe_log(entries, predictor.task, predictor.label_schema, reference.labels)
    n_texts = sum(entry["text"] is not None for entry in entries)
    by_id = {entry["id"]: entry["text"] for entry in entries}

    def complete(window: Observed) -> Observed:
        texts = [by_id[name] for name in window.names]
        if any(text is None for text in texts):
            return window
        inputs = [predictor.read(text) for text in texts]
        rows = replace(window, vectors=vectors_of(predictor, inputs))
        return with_texts(
            rows, [text_of_row(row, predictor.task.inputs) for row in inputs], reference.vocabulary
        )

    notes = []
    if n_texts < len(entries):
        kept = f"{n_texts:,} of {len(entries):,} answers" if n_texts else "no answer"
        notes.append(
            f"the log has kept the text of {kept}, so windows without texts are measured by their answers alone; "
            "`tunesmith serve --log text` keeps texts, with personal data replaced"
        )
    return _Source(rows, complete, notes)


def _entries(place: str, name: str) -> list[JsonObject]:
    """The answers of a run in a log, the oldest first."""
    from tunesmith.monitoring.log_place import is_log

    if not is_log(place):
        raise RecipeError(
            f"`{place}` holds no prediction log.",
            remedy="`tunesmith serve RUN` writes one beside the run: `RUN-log`.",
        )
    entries = sorted(read_log(place), key=lambda entry: float(entry["at"]))
    found = [entry for entry in entries if entry["run"] == name]
    if not found:
        names = sorted({str(entry["run"]) for entry in entries})
        known = f"It has answers of: {', '.join(f'`{one}`' for one in names)}." if names else "It is empty."
        raise RecipeError(
            f"the log `{place}` has no answer of a run with the name `{name}`.",
            remedy=f"{known} `--served-as NAME` chooses another name.",
        )
    return found
