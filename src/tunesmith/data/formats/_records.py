"""Records of a delimited file, each with the lines that it takes; no line is dropped silently.

A quoted field may contain line ends. So if a quote is opened and not closed, a plain CSV reader takes the rest of
the file as one field. Here, the lines of a field that is not closed, or not closed in the way of CSV, are put back
and read on their own; only the line with the opening quote is a problem. The same holds for a field that is
closed, but whose lines all look like rows of this file: each has as many fields as the header, and one of the
fields is a value that repeats in its column (a label). Without such a column, the lines are one row, as the quotes
say, and are counted for a notice.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import IO, NamedTuple

_MOST_CHARACTERS = 20_000_000
_SEEN_VALUES = 1000
_LOOKAHEAD_LINES = 200
_UNCLOSED = "not CSV: a quote is opened in this line and never closed correctly."


class Lines:
    """The numbered lines of a file; lines that were taken too early can be put back."""

    def __init__(self, handle: IO[str]) -> None:
        self._handle = handle
        self._waiting: deque[str] = deque()
        self.number = 0
        """Number of the last line."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else next(self._handle)
        self.number += 1
        return line

    def put_back(self, lines: list[str]) -> None:
        """Puts back the last lines, in their order."""
        self._waiting.extendleft(reversed(lines))
        self.number -= len(lines)

    def taking(self, taken: list[str]) -> Iterator[str]:
        """The next lines, up to the largest size of a field; each is appended to `taken`."""
        n_characters = 0
        for line in self:
            taken.append(line)
            yield line
            n_characters += len(line)
            if n_characters > _MOST_CHARACTERS:
                return

    def peek(self, n: int) -> list[str]:
        """The next lines, without taking them."""
        self._waiting.extend(itertools.islice(self._handle, max(0, n - len(self._waiting))))
        return list(itertools.islice(self._waiting, n))


@dataclass(frozen=True)
class Dialect:
    """How lines are cut into fields."""

    delimiter: str
    quotes: bool = True

    @cached_property
    def _proper(self) -> re.Pattern[str]:
        """A record with quotes only in quoted fields (RFC 4180)."""
        d = re.escape(self.delimiter)
        one = rf'(?:"(?:[^"]++|"")*+"|[^"{d}\r\n]*+)'
        return re.compile(rf"{one}(?:{d}{one})*+[\r\n]*+")

    def is_proper(self, text: str) -> bool:
        """Whether a record is quoted as in the standard."""
        return self._proper.fullmatch(text) is not None

    def plain(self, line: str) -> list[str]:
        """The fields of a line whose quotes are plain characters."""
        return line.rstrip("\r\n").split(self.delimiter)

    def is_over_rows(self, taken: list[str]) -> bool:
        """Whether a header spans lines that, read alone, have as many fields as its first line."""
        n_fields = {len(self.plain(line)) for line in taken}
        looks_like_rows = len(n_fields) == 1 and n_fields != {1}
        return len(taken) > 1 and (looks_like_rows or not self.is_proper("".join(taken)))

    def split(self, line: str, more: Iterable[str]) -> list[str]:
        """The fields of a record that begins with a line; takes more lines while a quoted field is open.

        Raises:
            csv.Error: a quote is not closed, or more follows after it.
        """
        if not self.quotes or '"' not in line:
            return self.plain(line)
        return next(csv.reader(itertools.chain([line], more), delimiter=self.delimiter, strict=True))


class Record(NamedTuple):
    """One record: first line, number of lines, and fields, or the problem with it."""

    line: int
    n_lines: int
    fields: Sequence[str] = ()
    problem: str = ""


class Records:
    """The records below a header.

    Args:
        lines: lines of the file below the header.
        dialect: how lines are cut into fields.
        n_fields: number of fields in the header.
    """

    def __init__(self, lines: Lines, dialect: Dialect, n_fields: int) -> None:
        self._lines, self._dialect, self._n_fields = lines, dialect, n_fields
        self._seen = _RepeatedValues(n_fields)
        self._noted_until = self._doubtful_until = self._opened = 0
        self.over_lines_like_rows, self.first_over_lines = 0, 0

    def __iter__(self) -> Iterator[Record]:
        for line in self._lines.peek(_LOOKAHEAD_LINES):
            fields = self._dialect.split(line, ()) if self._dialect.is_proper(line) else []
            if len(fields) == self._n_fields:
                self._seen.add(fields)
        self._noted_until = self._lines.number + _LOOKAHEAD_LINES
        for line in self._lines:
            if line.strip("\r\n"):
                yield self._record(line)

    def count_quoted(self) -> tuple[int, int]:
        """The numbers of records with proper quotes and with other quotes."""
        proper = broken = 0
        for line in self._lines:
            if '"' not in line:
                continue
            fields, taken, problem = self._read(line)
            is_proper = not problem and self._dialect.is_proper("".join(taken))
            if is_proper and len(taken) > 1:
                # Such quotes, at the start of one row and the end of another, were not written by a CSV writer.
                is_proper = len(fields) == self._n_fields and not self._are_rows(taken)
            proper, broken = proper + is_proper, broken + (not is_proper)
            if not is_proper:
                self._lines.put_back(taken[1:])
        return proper, broken

    def _record(self, line: str) -> Record:
        number = self._lines.number
        fields, taken, problem = self._read(line)
        if problem or (len(taken) > 1 and not self._dialect.is_proper("".join(taken))):
            # The lines within the quote are rows, or part of a text whose quote is missing.
            self._doubtful_until, self._opened = max(self._doubtful_until, number + len(taken) - 1), number
            self._lines.put_back(taken[1:])
            return Record(number, 1, problem=problem or _UNCLOSED)
        if len(taken) > 1:
            return self._long_record(number, fields, taken)
        if self._opened < number <= self._doubtful_until and not self._reads_as_row(line, fields):
            problem = f"it follows the open quote of line {self._opened}, and is not a row."
            return Record(number, 1, problem=problem)
        if len(fields) == self._n_fields and number > self._noted_until:
            self._seen.add(fields)
        return Record(number, 1, fields)

    def _long_record(self, number: int, fields: list[str], taken: list[str]) -> Record:
        """A record of several lines; or its first line as a problem, if the lines are rows themselves."""
        if not self._are_rows(taken):
            return Record(number, len(taken), fields)
        alone = [self._dialect.plain(line) for line in taken]
        if len(fields) == self._n_fields and not self._seen.hold(alone):
            self.over_lines_like_rows += 1
            self.first_over_lines = self.first_over_lines or number
            return Record(number, len(taken), fields)
        self._lines.put_back(taken[1:])
        problem = (
            f"not CSV: a quote is opened in this line, and the {len(taken) - 1} lines to its end are rows."
        )
        return Record(number, 1, problem=problem)

    def _read(self, line: str) -> tuple[list[str], list[str], str]:
        """The fields of a record, its lines, and the problem, if they are not CSV."""
        taken = [line]
        try:
            return self._dialect.split(line, self._lines.taking(taken)), taken, ""
        except csv.Error as error:
            if len(taken) == 1 and "unexpected end" not in str(error):
                return [], taken, f"not CSV: {error}."
            # After a quote that is never closed, the lines up to the end of the file are read one by one.
            if "unexpected end" in str(error):
                self._lines.put_back(taken[1:])
                taken = [line]
            return [], taken, _UNCLOSED

    def _are_rows(self, lines: list[str]) -> bool:
        """Whether each of the lines, read alone, has as many fields as the header."""
        return all(len(self._dialect.plain(line)) == self._n_fields for line in lines)

    def _reads_as_row(self, line: str, fields: Sequence[str]) -> bool:
        is_row = len(fields) == self._n_fields and self._dialect.is_proper(line)
        return is_row and (not self._seen.any_repeats or self._seen.hold([fields]))


class _RepeatedValues:
    """The values of columns in which values repeat, and how often each occurs."""

    def __init__(self, n_fields: int) -> None:
        self._counts: dict[int, dict[str, int]] = {i: {} for i in range(n_fields)}
        self._n_rows = 0

    def add(self, fields: Sequence[str]) -> None:
        """Notes the values of a row; a column with few repeated values is dropped."""
        self._n_rows += 1
        for i, counts in self._counts.items():
            counts[fields[i]] = counts.get(fields[i], 0) + 1
        if self._n_rows % _LOOKAHEAD_LINES == 0:
            self._counts = {
                i: c for i, c in self._counts.items() if len(c) <= _SEEN_VALUES and self._repeats(c)
            }

    @property
    def any_repeats(self) -> bool:
        """Whether the values of some column repeat."""
        return any(map(self._repeats, self._counts.values()))

    def hold(self, rows: Sequence[Sequence[str]]) -> bool:
        """Whether the values of some column repeat, and those of all these rows occur elsewhere too."""
        return any(
            self._repeats(counts) and all(counts.get(row[i], 0) > 1 for row in rows)
            for i, counts in self._counts.items()
        )

    def _repeats(self, counts: dict[str, int]) -> bool:
        return 2 * len(counts) <= self._n_rows
