"""Formats of data. One file in this folder reads one; a new format is a new file.

Most formats are kinds of file, told by their endings (`FileFormat`), and by their content where the ending is an
unusual one; the rest are sources that are no single
file, told by how they are written (`SourceFormat`): a folder, a database with a query, a set of the Hub. The
text formats are read with the standard library, not through `datasets`: its CSV and JSON readers do not tell
on which line a row stands, fill missing fields with nulls and stop at the first wrong row, and a user with
one bad row in a million needs its line. Nothing is guessed about values: all of CSV is text, and what is
missing stays missing for the task to judge. Nothing is executed, and nothing is unpickled.

The law of every reader: a line, or a record, is used, or it becomes a `Row` with a fault, or it is none of the
data (a header, a blank line, a comment). None is swallowed.

Modules that begin with an underscore are what formats stand on, or shapes within one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.data.formats._archive import ARCHIVE
from tunesmith.data.formats._encodings import is_text
from tunesmith.data.formats._files import DataFile
from tunesmith.data.formats._packing import PACKINGS
from tunesmith.errors import DataError
from tunesmith.registry import Registry


@dataclass(frozen=True)
class Row:
    """One row of a source: its values by column, or why it has none.

    Args:
        line: where it begins, counted in `unit` from 1.
        values: what stands in it, by column name.
        problem: why the row cannot be read; empty when it can.
        unit: what `line` counts: `line` where the format has lines a user can go to, else `row`,
            `question` or `unit`.
        n_lines: how many of them it takes.
    """

    line: int
    values: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    unit: str = "line"
    n_lines: int = 1

    def location(self, file: str) -> str:
        """Where the row stands: `train.csv, line 17`, `train.parquet, row 17`."""
        return f"{file}, {self.unit} {self.line}"


def _recognises_nothing(head: bytes) -> bool:
    return False


def _no_parts(source: Any) -> list[tuple[str, str]]:
    return []


@dataclass(frozen=True)
class FileFormat:
    """A kind of file, told by its ending.

    Args:
        summary: one line of what it holds.
        endings: lower-case, with their points.
        rows: every row of a file, one at a time.
        recognises: whether the first bytes of a file show that it is of this kind, whatever its ending.
        parts: the names of the splits that a file holds side by side, and how each is written: `a.json#train`.
    """

    summary: str
    endings: tuple[str, ...]
    rows: Callable[[DataFile], Iterator[Row]]
    recognises: Callable[[bytes], bool] = _recognises_nothing
    parts: Callable[[DataFile], list[tuple[str, str]]] = _no_parts


@dataclass(frozen=True)
class SourceFormat:
    """A source that is no single file, told by how it is written.

    Args:
        summary: one line of how it is written.
        claims: whether a source is of this kind.
        rows: every row, one at a time, with the name of the file it stands in; what the user should know of the
            source is added to the list that is its second argument.
        files: the local files behind a source, sorted.
        fingerprint: bytes that change when the data do.
        name: what messages call a source; it never shows a password.
        parts: the names of what a source holds side by side, and how each is written as a source.
        is_general: whether others that claim the same source come first.
    """

    summary: str
    claims: Callable[[str], bool]
    rows: Callable[[str, list[str]], Iterator[tuple[str, Row]]]
    files: Callable[[str], list[Path]]
    fingerprint: Callable[[str], bytes]
    name: Callable[[str], str] = str
    parts: Callable[[str], list[tuple[str, str]]] = _no_parts
    is_general: bool = False


FORMATS: Registry[FileFormat | SourceFormat] = Registry(
    "tunesmith.data.formats", "format", FileFormat | SourceFormat
)


def source_formats() -> list[SourceFormat]:
    """Every kind of source that is no single file; those that claim most come last."""
    entries, _ = FORMATS.loadable()
    found = [entry for entry in entries.values() if isinstance(entry, SourceFormat)]
    return sorted(found, key=lambda entry: entry.is_general)


def format_of(file: DataFile) -> FileFormat:
    """The format of a file: that of its ending, or where its content shows another, that one, with a notice.

    Raises:
        DataError: There is none, and the message lists what there is; or several formats claim its ending.
    """
    loadable, broken = FORMATS.loadable()
    entries = {name: entry for name, entry in loadable.items() if isinstance(entry, FileFormat)}
    by_ending = {ending: entry for entry in entries.values() for ending in entry.endings}
    file.enter_archive(by_ending)
    _refuse_several_owners(file, entries)
    named = by_ending.get(file.ending)
    if named is not None and file.path is None:  # its head would be fetched twice
        return named
    file.find_packing()
    head = file.head()
    if named is not None and (named.recognises(head) or is_text(head)):
        return named
    found = next((name for name, entry in entries.items() if entry.recognises(head)), None)
    if found is not None:
        file.notice(f"`{file.name}` is read as `{found}`, which its content is, whatever its ending says")
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
