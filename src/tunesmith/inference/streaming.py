"""Predictions for files and pipes, a chunk at a time: memory does not grow with the file."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tunesmith.data.columns import View, choose_view
from tunesmith.data.examples import distinct_names
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.reading import Row, read_rows, read_sample, source_files, source_name, with_variables
from tunesmith.errors import DataError
from tunesmith.inference.predictor import CHUNK_ROWS, Predictor
from tunesmith.tasks import Prediction, RowError, Task, best_answer

_SAMPLE_ROWS = 500
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?")

Source = Iterable[tuple[str, Row]]


def rows_of_files(sources: Sequence[str]) -> Source:
    """The rows of several files, one after the other."""
    return itertools.chain.from_iterable(read_rows(source) for source in sources)


def names_of_files(sources: Sequence[str]) -> dict[str, str]:
    """A short name for each file of the sources, see `distinct_names`."""
    folders = [source for source in sources if os.path.isdir(with_variables(source))]
    files = [str(path) for source in folders for path in source_files(source)]
    return distinct_names([*map(source_name, sources), *files])


def rows_of_texts(texts: Sequence[str], task: Task, needed: Sequence[str] = ()) -> Source:
    """Texts that were given as arguments; where a text is not enough, each a row as a JSON object.

    Args:
        texts: the arguments.
        task: whose rows they are.
        needed: the columns that each row must have, see `Predictor.needed`.
    """
    for number, text in enumerate(texts, start=1):
        yield "argument", _row_of(number, text, task, needed)


def rows_of_lines(lines: Iterable[str], task: Task, needed: Sequence[str] = ()) -> Source:
    """The lines of a pipe, each a text or a row as a JSON object; blank lines are not texts.

    Args:
        lines: of the pipe.
        task: whose rows they are.
        needed: the columns that each row must have, see `Predictor.needed`.
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
    named: Mapping[str, Any],
    *,
    keep_bad_rows: bool,
    top_k: int = 1,
    from_files: bool = True,
    names: Mapping[str, str] | None = None,
) -> Iterator[dict[str, Any]]:
    """One line of output a row, in order.

    Args:
        predictor: of a run.
        rows: from `rows_of_files` or `rows_of_lines`.
        named: the file's column for each of the task's, as far as the user named them.
        keep_bad_rows: give a row that cannot be used a line with its `error`, instead of stopping.
        top_k: labels of each answer.
        from_files: false for rows that people write themselves, in which the task's own names are meant.
        names: of the files, see `names_of_files`.

    Raises:
        DataError: a row cannot be used, and `keep_bad_rows` is false; or there is no row.
    """
    source = iter(rows)
    head, sample = read_sample(source, _SAMPLE_ROWS)
    if not head:
        raise DataError("there is no text to predict for.", remedy="Give texts, a file with rows, or lines.")
    location = head[0][0]
    remembered = predictor.columns if from_files or not _has_own_names(predictor.task, sample) else ()
    view = (
        choose_view(
            predictor.task,
            sample,
            ReadOptions(named, remembered=remembered),
            location=location,
            need_targets=False,
        )
        if sample
        else _NOTHING
    )
    rest = itertools.chain(head, source)
    while chunk := list(itertools.islice(rest, CHUNK_ROWS)):
        for (file, row), line in zip(
            chunk,
            _predict_chunk(predictor, chunk, view, keep_bad_rows=keep_bad_rows, top_k=top_k),
            strict=True,
        ):
            yield {"row": f"{(names or {}).get(file) or Path(file).name}:{row.line}", **line}


def _has_own_names(task: Task, sample: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all columns of the rows are called as the task calls them."""
    return {name for row in sample for name in row} <= {column.name for column in task.columns}


def _predict_chunk(
    predictor: Predictor,
    chunk: list[tuple[str, Row]],
    view: View,
    *,
    keep_bad_rows: bool,
    top_k: int,
) -> Iterator[dict[str, Any]]:
    usable: list[dict[str, Any]] = []
    problems: dict[int, str] = {}
    for position, (file, row) in enumerate(chunk):
        try:
            usable.append(_usable(predictor, row, view))
        except RowError as error:
            if not keep_bad_rows:
                raise DataError(
                    f"the row cannot be used: {error}",
                    location=f"{file}, {row.unit} {row.line}",
                    remedy="Mend it, or give `--bad-rows keep` to get a line with the error in its place.",
                ) from None
            problems[position] = str(error)
    answers = iter(_answers(predictor, usable))
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
                remedy="Mend it.",
            )
        answer = (
            {"error": str(found)} if isinstance(found, RowError) else answer_line(predictor, found, top_k)
        )
        yield {**shown, **answer}


def _answers(predictor: Predictor, rows: list[dict[str, Any]]) -> list[Prediction | RowError]:
    """An answer for each row, or why there is none."""
    try:
        return list(predictor.predict_rows(rows)) if rows else []
    except RowError as error:
        if len(rows) == 1:
            return [error]
        return [answer for row in rows for answer in _answers(predictor, [row])]


def _shown(task: Task, row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name in task.shown}


def _usable(predictor: Predictor, row: Row, view: View) -> dict[str, Any]:
    if row.problem:
        raise RowError(row.problem)
    inputs = {column.name for column in predictor.task.columns if not column.target}
    values = {name: value for name, value in view.values(row.values).items() if name in inputs}
    if missing := [name for name in predictor.needed if name not in values]:
        raise RowError(f"this model was trained with `{missing[0]}`, and the row has none.")
    return predictor.task.read(values)


_NOTHING = View({}, dict)


def answer_line(predictor: Predictor, prediction: Prediction, top_k: int) -> dict[str, Any]:
    """A prediction as JSON holds it: the scores of all labels only as far as they are asked for."""
    line = best_answer(predictor.task, prediction)
    others = predictor.task.alternatives
    if top_k > 1 and others is not None and others.key in prediction:
        line["top"] = others.best(prediction[others.key], predictor.label_schema, top_k)
    return line


def write_json_lines(lines: Iterable[dict[str, Any]], handle: IO[str]) -> int:
    """Writes lines as they come, and returns how many."""
    count = 0
    for line in lines:
        handle.write(json.dumps(line, ensure_ascii=False) + "\n")
        count += 1
    return count


def write_csv(lines: Iterable[dict[str, Any]], handle: IO[str]) -> int:
    """Writes lines as CSV with one header; nested values as JSON, what a spreadsheet would compute as text.

    A column may first appear in any line, and the header stands before all: the lines wait in a nameless file.
    """
    header = dict.fromkeys(["row"])
    count = 0
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass") as waiting:
        for line in lines:
            header |= dict.fromkeys(line)
            waiting.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
        waiting.seek(0)
        last = dict.fromkeys(["truncated", "error"])
        names = [*(name for name in header if name not in last), *last]
        writer = csv.DictWriter(_LineEnds(handle), names, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in json.loads(line).items()} for line in waiting)
    return count


class _LineEnds:
    """Ends rows with a line feed alone; the csv module quotes a carriage return only where rows end in one, too.

    Args:
        handle: to write to.
    """

    def __init__(self, handle: IO[str]) -> None:
        self._handle = handle

    def write(self, row: str) -> int:
        """Writes one row."""
        return self._handle.write(row.removesuffix("\r\n") + "\n")


def _cell(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def _is_formula(text: str) -> bool:
    """Whether a spreadsheet would compute a cell, or run what it names: the rule of OWASP's CSV injection page."""
    return text.startswith(("=", "+", "-", "@", "\t", "\r")) and not _NUMBER.fullmatch(text)
