"""Predictions for files and pipes, one chunk at a time, so that memory does not grow with the file."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.data.columns import View
from tunesmith.data.examples import distinct_names
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.reading import Row, read_rows, read_sample, source_files, source_name, with_variables
from tunesmith.errors import DataError
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.rows import CHUNK_ROWS, read_inputs, view_of
from tunesmith.tasks import Prediction, RowError, Task, Values

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_SAMPLE_ROWS = 500

Source = Iterable[tuple[str, Row]]


def rows_of_files(sources: Sequence[str], notices: list[str] | None = None) -> Source:
    """The rows of several files, one after the other.

    Args:
        sources: files, folders or Hub names.
        notices: list to which notices for the user are appended while the rows are read.
    """
    return itertools.chain.from_iterable(read_rows(source, notices) for source in sources)


def names_of_files(sources: Sequence[str]) -> dict[str, str]:
    """A short name for each file of the sources, see `distinct_names`."""
    folders = [source for source in sources if os.path.isdir(with_variables(source))]
    files = [str(path) for source in folders for path in source_files(source)]
    return distinct_names([*map(source_name, sources), *files])


def rows_of_texts(texts: Sequence[str], task: Task, needed: Sequence[str] = ()) -> Source:
    """Rows from arguments: texts, or JSON objects if a text is not enough.

    Args:
        texts: arguments.
        task: task of the model.
        needed: columns that each row must have, see `Predictor.needed`.
    """
    for number, text in enumerate(texts, start=1):
        yield "argument", _row_of(number, text, task, needed)


def rows_of_lines(lines: Iterable[str], task: Task, needed: Sequence[str] = ()) -> Source:
    """Rows from the lines of a pipe: texts, or JSON objects if a text is not enough; blank lines are skipped.

    Args:
        lines: lines of the pipe.
        task: task of the model.
        needed: columns that each row must have, see `Predictor.needed`.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield "standard input", _row_of(number, line.rstrip("\r\n"), task, needed)


def _row_of(number: int, text: str, task: Task, needed: Sequence[str]) -> Row:
    if task.text_column and set(needed) <= {task.text_column}:
        return Row(number, {task.text_column: text})
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if isinstance(values, dict):
        return Row(number, values)
    required = [c.name for c in task.columns if c.required and not c.target]
    example = json.dumps(dict.fromkeys(needed or required, "…"), ensure_ascii=False)
    return Row(number, problem=f"{task.name} needs a JSON object like {example}.")


def predict_rows(
    predictor: Predictor,
    rows: Source,
    named: Mapping[str, str | list[str]],
    *,
    keep_bad_rows: bool,
    top_k: int = 1,
    coverage: float | None = None,
    from_files: bool = True,
    names: Mapping[str, str] | None = None,
) -> Iterator[JsonObject]:
    """One line of output for each row, in order.

    Args:
        predictor: predictor of a run.
        rows: rows from `rows_of_files` or `rows_of_lines`.
        named: columns that the user named, by column of the task.
        keep_bad_rows: whether a row that cannot be used gets a line with its `error`, instead of an exception.
        top_k: number of labels in each answer.
        coverage: probability with which a set or an interval holds the true answer; none when None.
        from_files: whether the rows are from files; other rows may have the task's own column names.
        names: short names of the files, see `names_of_files`.

    Raises:
        DataError: a row cannot be used and `keep_bad_rows` is false, or there are no rows.
    """
    source = iter(rows)
    head, sample = read_sample(source, _SAMPLE_ROWS)
    if not head:
        raise DataError(
            "there is no text to predict for.",
            remedy="Give texts, a file with rows, or lines on standard input.",
        )
    remembered = predictor.columns if from_files or not _has_own_names(predictor.task, sample) else ()
    options = ReadOptions(named, remembered=remembered)
    view = view_of(predictor.task, sample, options, location=head[0][0])
    rest = itertools.chain(head, source)
    while chunk := list(itertools.islice(rest, CHUNK_ROWS)):
        lines = _predict_chunk(
            predictor, chunk, view, keep_bad_rows=keep_bad_rows, top_k=top_k, coverage=coverage
        )
        for (file, row), line in zip(chunk, lines, strict=True):
            yield {"row": f"{(names or {}).get(file) or Path(file).name}:{row.line}", **line}


def _has_own_names(task: Task, sample: Sequence[Values]) -> bool:
    """Whether all columns of the rows have names of the task's columns."""
    return {name for row in sample for name in row} <= {column.name for column in task.columns}


def _predict_chunk(
    predictor: Predictor,
    chunk: list[tuple[str, Row]],
    view: View,
    *,
    keep_bad_rows: bool,
    top_k: int,
    coverage: float | None,
) -> Iterator[JsonObject]:
    usable: list[JsonObject] = []
    problems: dict[int, str] = {}
    for position, (file, row) in enumerate(chunk):
        try:
            usable.append(read_inputs(predictor.task, predictor.needed, row, view))
        except RowError as error:
            if not keep_bad_rows:
                raise DataError(
                    f"the row cannot be used: {error}",
                    location=f"{file}, {row.unit} {row.line}",
                    remedy="Fix it, or give `--bad-rows keep` to get a line with the error instead.",
                ) from None
            problems[position] = str(error)
    answers = iter(_answers(predictor, usable, coverage))
    read = iter(usable)
    for position, (file, row) in enumerate(chunk):
        if position in problems:
            yield {"error": problems[position]}
            continue
        shown, found = _shown(predictor.task, next(read)), next(answers)
        if isinstance(found, RowError) and not keep_bad_rows:
            raise DataError(
                f"the row cannot be used: {found}",
                location=f"{file}, {row.unit} {row.line}",
                remedy="Fix it.",
            )
        answer = {"error": str(found)} if isinstance(found, RowError) else predictor.answer(found, top_k)
        yield {**shown, **answer}


def _answers(
    predictor: Predictor, rows: list[JsonObject], coverage: float | None
) -> list[Prediction | RowError]:
    """An answer for each row, or the error."""
    try:
        return list(predictor.predict_rows(rows, coverage)) if rows else []
    except RowError as error:
        if len(rows) == 1:
            return [error]
        return [answer for row in rows for answer in _answers(predictor, [row], coverage)]


def _shown(task: Task, row: JsonObject) -> JsonObject:
    return {name: value for name, value in row.items() if name in task.shown}
