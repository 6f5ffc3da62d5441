"""Formats of data. Each module in this folder reads one format; a new format is a new module.

Most formats are kinds of file (`FileFormat`). They are recognised by their endings, or by their content if the
ending is unusual. The others are sources that are not single files (`SourceFormat`), recognised by how they are
written: a folder, a database with a query, a data set of the Hub. Text formats are read with the standard library,
not through `datasets`, whose CSV and JSON readers do not give the line of a row, fill missing fields with nulls
and stop at the first wrong row. A user with one bad row in a million needs its line. Values are not guessed: the
content of CSV is text, and a missing value stays missing, for the task to handle. No content is executed or
unpickled.

The rule for every reader: a line or a record is used, or it becomes a `Row` with a problem, or it is not data (a
header, a blank line, a comment). No line is dropped silently.

Modules that begin with an underscore are helpers of several formats, or shapes within one format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.data.formats._archive import ARCHIVE
from tunesmith.data.formats._encodings import is_text
from tunesmith.data.formats._files import DataFile
from tunesmith.data.formats._packing import PACKINGS
from tunesmith.errors import DataError
from tunesmith.registry import Registry

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


@dataclass(frozen=True)
class Row:
    """One row of a source: its values by column, or the problem that it has.

    Args:
        line: start of the row, counted in `unit` from 1.
        values: values by column name.
        problem: reason why the row cannot be read; empty if it can.
        unit: what `line` counts: `line` if the format has lines, else `row`, `question` or `unit`.
        n_lines: number of lines that the row takes.
    """

    line: int
    values: JsonObject = field(default_factory=dict)
    problem: str = ""
    unit: str = "line"
    n_lines: int = 1

    def location(self, file: str) -> str:
        """The location of the row: `train.csv, line 17`, `train.parquet, row 17`."""
        return f"{file}, {self.unit} {self.line}"


def _recognises_nothing(head: bytes) -> bool:
    return False


def _no_parts(source: object) -> list[tuple[str, str]]:
    return []


@dataclass(frozen=True)
class FileFormat:
    """A kind of file, recognised by its ending.

    Args:
        summary: one-line description of the content.
        endings: endings in lower case, with their dots.
        rows: function that yields every row of a file.
        recognises: function that says whether the first bytes of a file show this format, whatever its ending.
        parts: function that lists the splits in a file: the name of each, and how it is written, `a.json#train`.
    """

    summary: str
    endings: tuple[str, ...]
    rows: Callable[[DataFile], Iterator[Row]]
    recognises: Callable[[bytes], bool] = _recognises_nothing
    parts: Callable[[DataFile], list[tuple[str, str]]] = _no_parts


@dataclass(frozen=True)
class SourceFormat:
    """A source that is not a single file, recognised by how it is written.

    Args:
        summary: one-line description of how it is written.
        claims: function that says whether a source is of this kind.
        rows: function that yields every row, with the name of its file, and appends notices for the user to its
            second argument.
        files: function that lists the local files of a source, sorted.
        fingerprint: function that returns bytes that change when the data change.
        name: function that returns the name of a source in messages, without passwords.
        parts: function that lists the parts of a source: the name of each, and how it is written as a source.
        is_general: whether other formats that claim the same source come first.
        is_in_memory: whether the rows exist only in the process that names them.
    """

    summary: str
    claims: Callable[[str], bool]
    rows: Callable[[str, list[str]], Iterator[tuple[str, Row]]]
    files: Callable[[str], list[Path]]
    fingerprint: Callable[[str], bytes]
    name: Callable[[str], str] = str
    parts: Callable[[str], list[tuple[str, str]]] = _no_parts
    is_general: bool = False
    is_in_memory: bool = False


FORMATS: Registry[FileFormat | SourceFormat] = Registry(
    "tunesmith.data.formats", "format", FileFormat | SourceFormat
)


def source_formats() -> list[SourceFormat]:
    """Every kind of source that is no single file; those that claim most come last."""
    entries, _ = FORMATS.loadable()
    found = [entry for entry in entries.values() if isinstance(entry, SourceFormat)]
    return sorted(found, key=lambda entry: entry.is_general)


def format_of(file: DataFile) -> FileFormat:
    """The format of a file, by its ending; if the content shows another format, that one, with a notice.

    Raises:
        DataError: There is none, and the message lists what there is; or several formats claim its ending.
    """
    loadable, broken = FORMATS.loadable()
    entries = {name: entry for name, entry in loadable.items() if isinstance(entry, FileFormat)}
    by_ending = {ending: entry for entry in entries.values() for ending in entry.endings}
    file.enter_archive(by_ending)
    _refuse_several_owners(file, entries)
    named = by_ending.get(file.ending)
    if named is not None and file.path is None:  # reading its head would download it twice
        return named
    file.find_packing()
    head = file.head()
    if named is not None and (named.recognises(head) or is_text(head)):
        return named
    found = next((name for name, entry in entries.items() if entry.recognises(head)), None)
    if found is not None:
        file.notice(f"`{file.name}` is read as `{found}`, because of its content, whatever its ending")
        return entries[found]
    if named is not None:
        return named
    raise DataError(
        f"`{file.name}` ends in `{file.ending or 'nothing'}`, which is no known format, and its content is not "
        f"recognised either.{_advice(file.ending)}{''.join(f' Not asked: {error.rule}' for error in broken)}",
        remedy=f"Known endings: {', '.join(sorted(by_ending))}, each also with {', '.join(PACKINGS)}, or alone in "
        f"a {ARCHIVE}.",
    )


def _refuse_several_owners(file: DataFile, entries: Mapping[str, FileFormat]) -> None:
    owners = [name for name, entry in entries.items() if file.ending in entry.endings]
    if len(owners) > 1:
        added = ", ".join(sorted(filter(None, map(FORMATS.origin, owners))))
        raise DataError(
            f"`{file.name}` ends in `{file.ending}`, which several formats claim: {', '.join(owners)}.",
            remedy=f"Rename the file, or uninstall what adds one of them: {added}.",
        )


_ADVICE = {
    (".xls", ".xlsb", ".ods", ".numbers"): "Save the sheet as .xlsx or as CSV.",
    (".doc", ".docx", ".odt", ".rtf", ".pdf", ".html", ".htm"): "Save the text as .txt.",
    (".tar", ".tgz", ".7z", ".rar"): "Unpack the archive, and name the file in it.",
    (".pkl", ".pickle", ".pt", ".npy", ".npz", ".spacy"): "Export the rows as JSON lines or Parquet.",
}


def _advice(ending: str) -> str:
    return next((f" {advice}" for endings, advice in _ADVICE.items() if ending in endings), "")
