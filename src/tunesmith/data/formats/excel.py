"""Excel workbooks (`.xlsx`), through openpyxl: the only sheet that is not empty, or `FILE.xlsx#SHEET`.

The value of a cell is the value that Excel stored. For a formula it is the last result; a formula that was never
computed is a problem. No formula is computed and no macro is run.
"""

from __future__ import annotations

import contextlib
import datetime
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tunesmith.data.formats import FileFormat, Row
from tunesmith.data.formats._archive import refuse_bomb
from tunesmith.data.formats._files import DataFile
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from openpyxl import Workbook
    from openpyxl.cell import Cell
    from openpyxl.worksheet.worksheet import Worksheet

    from tunesmith.types import JsonObject

# What zipfile, the XML parser (SyntaxError) and openpyxl raise on damage.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    SyntaxError,
    LookupError,
    ValueError,
    TypeError,
    OSError,
    EOFError,
    RuntimeError,
)


_MOST_ROWS = 2**20


def _rows(file: DataFile) -> Iterator[Row]:
    with _workbook(file, data_only=True) as values, _workbook(file, data_only=False) as formulas:
        name = _sheet_name(values, file)
        numbered = enumerate(zip(values[name].iter_rows(), formulas[name].iter_rows(), strict=True), start=1)
        header: list[str] = []
        for number, (cells, written) in numbered:
            _refuse_row(number, file)
            if all(_is_blank(cell.value) for cell in cells) and all(
                _is_blank(cell.value) for cell in written
            ):
                continue
            if not header:
                header = _header([cell.value for cell in cells], f"{file.name}, row {number}")
                continue
            yield _row(number, header, cells, written)


@contextlib.contextmanager
def _workbook(file: DataFile, *, data_only: bool) -> Iterator[Workbook]:
    try:
        import openpyxl
    except ImportError:
        raise DataError(
            f"`{file.name}` needs openpyxl, which is not installed.",
            remedy="`pip install 'tunesmith[excel]'`",
        ) from None
    with file.open_seekable() as handle:
        try:
            refuse_bomb(handle, file.name)
            with contextlib.closing(
                openpyxl.load_workbook(handle, read_only=True, data_only=data_only, keep_links=False)
            ) as book:
                for sheet in book.worksheets:
                    sheet.reset_dimensions()  # the size that a sheet states may be wrong, and rows would be lost
                yield book
        except (*_DAMAGE, openpyxl.utils.exceptions.InvalidFileException) as error:
            raise DataError(
                f"`{file.name}` is not an Excel workbook: {error}.", remedy="Save it again as .xlsx."
            ) from None


def _sheet_name(book: Workbook, file: DataFile) -> str:
    """The sheet to read: the named one, else the only one that is not empty.

    Raises:
        DataError: the named sheet does not exist, or several sheets are not empty.
    """
    names = [sheet.title for sheet in book.worksheets]
    filled = (
        [file.part]
        if file.part in names
        else [n for n in names if not file.part and _holds_values(book[n], file)]
    )
    if len(filled) == 1:
        return str(filled[0])
    listed = ", ".join(f"`{file.file_name}#{name}`" for name in (filled or names))
    if file.part:
        raise DataError(f"`{file.file_name}` has no sheet `{file.part}`.", remedy=f"It has: {listed}.")
    raise DataError(
        f"{len(filled)} sheets of `{file.name}` are not empty, and a source must be one sheet.",
        remedy=f"Name one: {listed}.",
    )


def _holds_values(sheet: Worksheet, file: DataFile) -> bool:
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        _refuse_row(number, file)
        if not all(map(_is_blank, row)):
            return True
    return False


def _refuse_row(number: int, file: DataFile) -> None:
    """Raises DataError beyond the rows that a sheet can have; openpyxl makes all rows up to the number of one."""
    if number > _MOST_ROWS:
        raise DataError(
            f"`{file.name}` says that it has more than {_MOST_ROWS:,} rows, which no sheet has.",
            remedy="Save it again as .xlsx.",
        )


def _header(values: Sequence[object], location: str) -> list[str]:
    names = ["" if _is_blank(value) else str(value) for value in values]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise DataError(
            f"the names of columns must differ, and `{twice[0]}` occurs twice in the header.",
            location=location,
            remedy="Rename one of them.",
        )
    return [name or f"column {i}" for i, name in enumerate(names, start=1)]


def _row(number: int, header: Sequence[str], cells: Sequence[Cell], written: Sequence[Cell]) -> Row:
    values: JsonObject = {}
    for i, (cell, source) in enumerate(zip(cells, written, strict=False), start=1):
        if problem := _problem(cell, source, is_outside=i > len(header)):
            return Row(number, problem=f"the cell in column {i} {problem}.", unit="row")
        if i <= len(header) and (header[i - 1] != f"column {i}" or not _is_blank(cell.value)):
            values[header[i - 1]] = _value(cell.value)
    return Row(number, values, unit="row")


def _problem(cell: Cell, source: Cell, *, is_outside: bool) -> str:
    """Why a cell cannot be read, as the end of a sentence; empty if it can."""
    if cell.value is None and not _is_blank(source.value):
        return "holds a formula whose result is not stored: open the file in a spreadsheet and save it"
    if cell.value is not None and cell.data_type == "e":
        return f"holds the error `{cell.value}`"
    return (
        f"holds `{cell.value}`, but the header ends before it"
        if is_outside and not _is_blank(cell.value)
        else ""
    )


def _value(value: object) -> object:
    """The value of a cell, in a type that JSON has."""
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value) if isinstance(value, datetime.timedelta) else value


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _parts(file: DataFile) -> list[tuple[str, str]]:
    with _workbook(file, data_only=True) as book:
        return [(sheet.title, f"{file.file_name}#{sheet.title}") for sheet in book.worksheets]


def _recognises(head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04") and b"xl/" in head


format = FileFormat("a sheet of an Excel workbook", (".xlsx", ".xlsm"), _rows, _recognises, _parts)
