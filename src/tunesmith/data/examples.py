"""Examples: the usable rows of one split, and the origin of each.

A row that cannot be used becomes an `InvalidRow` (`invalid_rows.py`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.column_store import CategoryWriter, Column, ColumnWriter
from tunesmith.data.columns import Getter, View, choose_view, column_of, header_of, value_of
from tunesmith.data.invalid_rows import InvalidRow
from tunesmith.data.read_options import EXACT, PLAIN_READING, ReadOptions
from tunesmith.data.reading import Row, fingerprint_of, read_rows, read_sample, source_name
from tunesmith.errors import DataError
from tunesmith.run import write_atomically
from tunesmith.tasks import LabelSchema, Realigned, RowError, Task

if TYPE_CHECKING:
    from tunesmith.tasks import Values
    from tunesmith.types import Columns, JsonObject

_SAMPLE_ROWS = 500
_MOST_METADATA = 50


@dataclass(frozen=True)
class Examples:
    """Rows by column, with their origin.

    Args:
        columns: values by the task's column names, as lists or stored columns.
        files: names of the files.
        file_index: [rows], index of the file that each row is from.
        lines: [rows], line on which each row starts.
        extra: columns that slices, groups or `group_by` need, and metadata, by the file's names.
        inputs: names of the columns that are read for predictions.
        units: what the line numbers of each file count, for messages: `line`, `row`, `question`.
        names: short name of each file, see `distinct_names`; empty derives them from the paths.
    """

    columns: Columns
    files: tuple[str, ...]
    file_index: NDArray[np.int32]
    lines: NDArray[np.int64]
    extra: Columns = field(default_factory=dict)
    inputs: tuple[str, ...] = ("text",)
    units: tuple[str, ...] = ("line",)
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.lines)

    def location(self, row: int) -> str:
        """The location of a row: `train.csv, line 17`."""
        file = self.file_index[row]
        return f"{self.files[file]}, {self.units[min(file, len(self.units) - 1)]} {self.lines[row]}"

    def row_id(self, row: int) -> str:
        """The name of a row in files of the run: `train.csv:17`."""
        return f"{self._names()[self.file_index[row]]}:{self.lines[row]}"

    def row_ids(self) -> Iterator[str]:
        """The name of every row, in order."""
        names = self._names()
        for file, line in zip(self.file_index, self.lines, strict=True):
            yield f"{names[file]}:{line}"

    def _names(self) -> Sequence[str]:
        return self.names or tuple(distinct_names(self.files).values())

    def row(self, row: int) -> JsonObject:
        """The values of one row, by column."""
        return {name: values[row] for name, values in self.columns.items()}

    def rows(self) -> Iterator[JsonObject]:
        """The values of every row, by column, in order."""
        names = list(self.columns)
        for values in zip(*self.columns.values(), strict=True):
            yield dict(zip(names, values, strict=True))

    def take(self, rows: NDArray[np.int64]) -> Examples:
        """The given rows, in the given order."""

        def pick(columns: Columns) -> Columns:
            return {
                name: values.take(rows) if isinstance(values, Column) else [values[i] for i in rows]
                for name, values in columns.items()
            }

        return replace(
            self,
            columns=pick(self.columns),
            file_index=self.file_index[rows],
            lines=self.lines[rows],
            extra=pick(self.extra),
        )


def distinct_names(files: Iterable[str]) -> dict[str, str]:
    """For each file, the shortest end of its path that no other file has: `a.csv`, `train/b.csv`, `test/b.csv`."""
    open_files = {file: PurePath(file).parts for file in files}
    names = dict.fromkeys(open_files, "")
    depth = 0
    while open_files:
        depth += 1
        tails = {file: "/".join(parts[-depth:]) for file, parts in open_files.items()}
        times = Counter(tails.values())
        for file, tail in tails.items():
            if times[tail] == 1:
                names[file] = tail
                del open_files[file]
            elif depth >= len(open_files[file]):  # `a//b` and `a/b`
                names[file] = file
                del open_files[file]
    return names


@dataclass(frozen=True)
class Reading:
    """The result of reading the sources of one split.

    Args:
        examples: usable rows.
        invalid_rows: rows that cannot be used.
        chosen: column of the first source for each column of the task, for people to read.
        views: `data.columns` that would read each source, without repetition.
        realigned: answers that were found at another location.
        notices: notices for the user.
    """

    examples: Examples
    invalid_rows: list[InvalidRow]
    chosen: dict[str, str]
    views: list[JsonObject]
    realigned: list[Moved] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Moved:
    """An answer that was found at another location than its row gives."""

    file: str
    line: int
    answer: Realigned


def read_examples(
    task: Task,
    sources: Sequence[str],
    options: ReadOptions = PLAIN_READING,
    *,
    label_schema: LabelSchema | None = None,
) -> Reading:
    """Reads every row of the sources.

    Args:
        task: task whose columns are read.
        sources: files, folders or Hub names, read one after the other.
        options: how they are read.
        label_schema: what was learned, where these are not the training rows.

    Raises:
        DataError: a source is missing or of an unknown format, a column is missing, or there are no rows.
    """
    builder = _Builder(task, options, label_schema)
    for source in sources:
        _read_source(builder, source)
    if not builder.lines and not builder.invalid_rows:
        raise DataError(
            f"`{', '.join(map(source_name, sources))}` has no rows.",
            remedy="Give a file with rows below its header.",
        )
    return builder.finish()


def _read_source(builder: _Builder, source: str) -> None:
    rows = read_rows(source, builder.notices)
    head, sample = read_sample(rows, _SAMPLE_ROWS)
    if not sample:
        builder.invalid_rows += [InvalidRow(file, row.line, row.problem, unit=row.unit) for file, row in head]
        return
    location = head[0][0]
    view = choose_view(
        builder.task, sample, builder.options, location=location, label_schema=builder.label_schema
    )
    required = builder.options.extra
    extra = {
        name: column_of(name, sample, location) if name in required else value_of(name)
        for name in builder.extra
    }
    if builder.options.with_metadata:
        extra |= builder.keep_metadata(sample, view)
    builder.chosen = builder.chosen or view.chosen
    if view.named and view.named not in builder.views:
        builder.views.append(view.named)
    builder.add(itertools.chain(head, rows), view, extra)


class _Builder:
    def __init__(self, task: Task, options: ReadOptions, label_schema: LabelSchema | None) -> None:
        self.task, self.options, self.label_schema = task, options, label_schema
        self.notices: list[str] = []
        self.realigned: list[Moved] = []
        self.chosen: dict[str, str] = {}
        self.views: list[JsonObject] = []
        self.files: dict[str, int] = {}
        self.file_index = array("i")
        self.lines = array("q")
        self.columns: dict[str, ColumnWriter | CategoryWriter] = {}
        self.extra = {name: ColumnWriter() for name in (*options.extra, *options.optional)}
        self.invalid_rows: list[InvalidRow] = []
        self.units: dict[str, str] = {}
        # Tasks do not read columns that only say which rows belong together.
        self._together = [c.name for c in task.columns if c.together and not c.required]
        self._categories = {column.name for column in task.columns if column.kind == "category"}

    def add(self, rows: Iterator[tuple[str, Row]], view: View, extra: Mapping[str, Getter]) -> None:
        for file, row in rows:
            if row.problem:
                self.invalid_rows.append(InvalidRow(file, row.line, row.problem, row.values, row.unit))
                continue
            try:
                values = view.values(row.values)
                example = self._read(file, row.line, values)
                example |= {n: values[n] for n in self._together if n in values}
            except RowError as error:
                self.invalid_rows.append(
                    InvalidRow(file, row.line, str(error), row.values, row.unit, error.hint)
                )
                continue
            self._append(file, row, example, extra)

    def keep_metadata(self, sample: Sequence[Values], view: View) -> dict[str, Getter]:
        """Getters of the file's other columns with single values, each of which is kept from now on."""
        used = {
            name for value in view.named.values() for name in ([value] if isinstance(value, str) else value)
        }
        single = [name for name in header_of(sample) if name not in used and _is_single(name, sample)]
        for name in single[:_MOST_METADATA]:
            if name not in self.extra:
                self.extra[name] = ColumnWriter()
                for _ in self.lines:
                    self.extra[name].append(None)
        return {name: value_of(name) for name in self.extra}

    def _read(self, file: str, line: int, values: Values) -> JsonObject:
        if self.options.align == EXACT or self.task.alignment is None:
            return self.task.read(values)
        aligned, answers = self.task.alignment.align(values, self.options.align)
        example = self.task.read(aligned)
        self.realigned += [Moved(file, line, answer) for answer in answers]
        return example

    def _append(self, file: str, row: Row, example: JsonObject, extra: Mapping[str, Getter]) -> None:
        self.units.setdefault(file, row.unit)
        self.file_index.append(self.files.setdefault(file, len(self.files)))
        for name in example:
            if name not in self.columns:
                self.columns[name] = self._writer(name)
        self.lines.append(row.line)
        for name, writer in self.columns.items():
            writer.append(example.get(name))
        for name, values in self.extra.items():
            values.append(extra[name](row.values) if name in extra else None)

    def _writer(self, name: str) -> ColumnWriter | CategoryWriter:
        """A writer for a column that first occurs in this row."""
        writer = CategoryWriter() if name in self._categories else ColumnWriter()
        for _ in self.lines:
            writer.append(None)
        return writer

    def finish(self) -> Reading:
        examples = Examples(
            {name: writer.finish() for name, writer in self.columns.items()},
            tuple(self.files),
            np.array(self.file_index, dtype=np.int32),
            np.array(self.lines, dtype=np.int64),
            {name: writer.finish() for name, writer in self.extra.items()},
            tuple(name for name in self.task.inputs if name in self.columns),
            tuple(self.units[file] for file in self.files) or ("line",),
        )
        return Reading(examples, self.invalid_rows, self.chosen, self.views, self.realigned, self.notices)


def _is_single(name: str, sample: Sequence[Values]) -> bool:
    """Whether a column holds texts, numbers or truth values, and not objects or lists."""
    return all(isinstance(row.get(name), str | int | float | None) for row in sample)


def list_realigned(realigned: Sequence[Moved], path: Path) -> None:
    """Writes answers that were found at another location to a JSON-lines file, before and after."""
    lines = ({"file": moved.file, "line": moved.line, **asdict(moved.answer)} for moved in realigned)
    write_atomically(path, (json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def fingerprint(sources: Sequence[str]) -> str:
    """SHA-256 over the content of the sources (for a Hub data set, over its name)."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(fingerprint_of(source))
    return digest.hexdigest()
