"""CSV and TSV with a header.

The delimiter is the one that most often cuts the first lines into as many fields as the header. A line `sep=;`
above the header, as Excel writes it, sets it. In TSV a quote is a plain character, unless nearly all rows with a
quote are quoted in the way of CSV: many tools write tabs and never quote.

The lines within a quoted text are checked one by one (`_records`), so a quote that is never closed costs only its
own line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from tunesmith.data.formats import FileFormat, Row
from tunesmith.data.formats._encodings import text_problem
from tunesmith.data.formats._files import DataFile
from tunesmith.data.formats._json import first_character, lines_of
from tunesmith.data.formats._records import Dialect, Lines, Record, Records
from tunesmith.errors import DataError

_DELIMITERS = ",;\t|"
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_ESCAPED_SIGN = re.compile(r"\\[\",;|\t]")
_SAMPLE_LINES = 100
_MOST_BROKEN_QUOTES = 0.1


def _rows(file: DataFile) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    with file.open_text() as handle:
        lines = Lines(handle)
        dialect = _dialect(file, lines)
        header = _header(lines, dialect, file.name)
        records = Records(lines, dialect, len(header))
        nameless = [name for i, name in enumerate(header, start=1) if name == f"column {i}"]
        empty: list[Record] = []
        for record in records:
            if _is_white_space(record):
                continue
            if _is_delimiters(record):
                empty.append(record)
                continue
            # Lines with only delimiters are rows, unless they are below the table, where Excel writes them.
            for found in (*empty, record):
                yield _row(header, found, nameless)
            empty.clear()
    if empty:
        file.notice(f"{len(empty)} lines with only delimiters at the end of `{file.name}` are not rows")
    if records.over_lines_like_rows:
        file.notice(
            f"{records.over_lines_like_rows} rows of `{file.name}` span lines that could be rows themselves, "
            f"because they are in quotes (the first in line {records.first_over_lines})"
        )


def _dialect(file: DataFile, lines: Lines) -> Dialect:
    """The delimiter and the use of quotes; consumes the line that sets the delimiter."""
    first = lines.peek(1)
    if first and (said := _SEPARATOR_LINE.fullmatch(first[0])):
        next(lines)
        return Dialect(said[1])
    sample = lines.peek(_SAMPLE_LINES)
    if escaped := sum(map(bool, map(_ESCAPED_SIGN.search, sample))):
        file.notice(
            f"{escaped} of the first {len(sample)} lines of `{file.name}` have a backslash before a quote or a "
            "delimiter: it is read as a plain character, since CSV doubles quotes and has no escape character"
        )
    header = next((line for line in sample if line.strip()), "")
    if file.ending != ".tsv":
        return Dialect(_delimiter(sample))
    if "\t" not in header and (other := _delimiter(sample)) in header:
        file.notice(f"`{file.name}` has no tab in its header, so it is read with `{other}` as the delimiter")
        return Dialect(other)
    return Dialect("\t", quotes=_has_quoted_fields(file))


def _delimiter(sample: list[str]) -> str:
    return max(_DELIMITERS, key=lambda delimiter: _regularity(sample, delimiter))


def _regularity(sample: list[str], delimiter: str) -> tuple[bool, float, int]:
    """Whether a delimiter cuts lines, the share of lines with as many fields as the header, and that number."""
    reader = csv.reader(sample, delimiter=delimiter)
    records = [fields for fields in reader if fields]
    n_fields = len(records[0]) if records else 0
    same = sum(len(fields) == n_fields for fields in records)
    return n_fields > 1, same / max(len(records), 1) if n_fields > 1 else 0.0, n_fields


def _has_quoted_fields(file: DataFile) -> bool:
    """Whether the quotes of a tab-separated file are those of CSV; reads all lines with quotes."""
    with file.open_text() as handle:
        lines, dialect = Lines(handle), Dialect("\t")
        header = next((line for line in lines if line.strip()), "")
        if header.startswith('"') and dialect.is_proper(header):
            return True
        quoted, broken = Records(lines, dialect, len(dialect.plain(header))).count_quoted()
    if not broken:
        return True
    is_quoted = broken <= _MOST_BROKEN_QUOTES * (quoted + broken)
    if not is_quoted:
        file.notice(
            f"quotes in `{file.name}` are read as plain characters: in {broken} of {quoted + broken} rows with "
            "quotes, these are not the quotes of CSV"
        )
    return is_quoted


def _header(lines: Lines, dialect: Dialect, name: str) -> list[str]:
    """The names of the columns; a column without a name is named by its number."""
    for line in lines:
        if not line.strip():
            continue
        location = f"{name}, line {lines.number}"
        names = _header_names(line, lines, dialect, location)
        twice = sorted({column for column in names if names.count(column) > 1})
        if twice:
            raise DataError(
                f"the names of columns must differ, and `{twice[0]}` occurs twice in the header.",
                location=location,
                remedy="Rename one of them.",
            )
        return names
    return []


def _header_names(line: str, lines: Lines, dialect: Dialect, location: str) -> list[str]:
    taken = [line]
    try:
        fields = dialect.split(line, lines.taking(taken))
    except csv.Error as error:
        raise DataError(
            f"the header is not CSV: {error}.", location=location, remedy="Fix the header's quotes."
        ) from None
    if dialect.is_over_rows(taken):
        raise DataError(
            f"the header is not CSV: a quote is opened in it and includes {len(taken) - 1} lines that are rows.",
            location=location,
            remedy="Fix the header's quotes.",
        )
    if problem := text_problem("".join(fields)):
        raise DataError(f"the header is {problem}", location=location, remedy="Save the file as UTF-8.")
    return [field if field.strip() else f"column {i}" for i, field in enumerate(fields, start=1)]


def _is_white_space(record: Record) -> bool:
    """Whether a line is only white space."""
    return len(record.fields) == 1 and record.fields[0].isspace()


def _is_delimiters(record: Record) -> bool:
    """Whether a record has several fields, all empty."""
    return len(record.fields) > 1 and not any(map(str.strip, record.fields))


def _row(header: list[str], record: Record, nameless: list[str]) -> Row:
    """The row of a record.

    Args:
        header: names of the columns.
        record: record of the file.
        nameless: columns without a name, for which Excel writes delimiters beside a table.
    """
    line, fields, n_lines = record.line, record.fields, record.n_lines
    if record.problem:
        return Row(line, problem=record.problem, n_lines=n_lines)
    if len(fields) > len(header) and not any(map(str.strip, fields[len(header) :])):
        fields = fields[: len(header)]
    if len(fields) != len(header):
        return Row(line, problem=f"{len(fields)} fields, the header has {len(header)}.", n_lines=n_lines)
    if problem := text_problem("".join(fields)):
        return Row(line, problem=problem, n_lines=n_lines)
    values = dict(zip(header, fields, strict=True))
    for name in nameless:
        if not values[name]:
            del values[name]
    return Row(line, values, n_lines=n_lines)


def _recognises(head: bytes) -> bool:
    """Whether there is a header, and lines with as many fields."""
    if first_character(head) in ("[", "{", "<"):
        return False
    lines = lines_of(head)[:_SAMPLE_LINES]
    cuts, share, _ = _regularity(lines, _delimiter(lines)) if len(lines) > 1 else (False, 0.0, 0)
    return cuts and share == 1.0


format = FileFormat("a header and rows of fields", (".csv", ".tsv"), _rows, _recognises)
