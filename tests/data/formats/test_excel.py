import datetime
import sys
import zipfile

import pytest

from tunesmith.data.formats import _packing, excel
from tunesmith.data.preparing import find_splits
from tunesmith.data.reading import read_rows
from tunesmith.errors import DataError
from tunesmith.recipe import DataRecipe, Recipe

openpyxl = pytest.importorskip("openpyxl")


@pytest.fixture
def workbook(tmp_path):
    def make(sheets, name="book.xlsx"):
        book = openpyxl.Workbook()
        book.remove(book.active)
        for title, rows in sheets.items():
            sheet = book.create_sheet(title)
            for row in rows:
                sheet.append(row)
        book.save(tmp_path / name)
        return str(tmp_path / name)

    return make


def rows(source):
    return [row for _, row in read_rows(source)]


def test_the_sheet_that_holds_something_is_read(workbook):
    day = datetime.datetime(2024, 2, 29)
    source = workbook({
        "Notes": [],
        "Rows": [
            [None, None], ["text", "label", "day", "n"], ["a", "x", day, 2], [None] * 4, ["b", True, None, 0.5],
        ],
    })  # fmt: skip
    found = rows(source)
    assert [(row.line, row.unit) for row in found] == [(3, "row"), (5, "row")]
    assert found[0].values == {"text": "a", "label": "x", "day": "2024-02-29", "n": 2}
    assert found[1].values == {"text": "b", "label": True, "day": None, "n": 0.5}


def test_of_several_sheets_one_must_be_named(workbook):
    source = workbook({"One": [["text"], ["a"]], "Two": [["text"], ["b"]]})
    with pytest.raises(DataError, match=r"2 sheets of .*are not empty") as caught:
        rows(source)
    assert f"`{source}#One`, `{source}#Two`" in str(caught.value)
    assert [row.values for row in rows(f"{source}#Two")] == [{"text": "b"}]
    with pytest.raises(DataError, match="has no sheet `Three`"):
        rows(f"{source}#Three")


def test_sheets_called_train_and_test_are_splits(workbook):
    source = workbook({"Train": [["text"], ["a"]], "Test": [["text"], ["b"]]})
    data = find_splits(Recipe(data=DataRecipe(train=[source]))).data
    assert (data.train, data.test) == ([f"{source}#Train"], [f"{source}#Test"])


def test_cells_that_cannot_be_read_are_named(workbook):
    table = [["text", "label"], ["a", "=1+1"], ["b", "#N/A"], ["c", "x", "more"], ["d", "y"]]
    found = rows(workbook({"Rows": table}))
    assert [(row.line, row.problem) for row in found if row.problem] == [
        (
            2,
            "the cell in column 2 holds a formula whose result is not stored: "
            "open the file in a spreadsheet and save it.",
        ),
        (3, "the cell in column 2 holds the error `#N/A`."),
        (4, "the cell in column 3 holds `more`, but the header ends before it."),
    ]
    assert [row.values for row in found if not row.problem] == [{"text": "d", "label": "y"}]


def test_a_workbook_is_recognised_by_its_content(workbook, tmp_path):
    source = workbook({"Rows": [["text"], ["a"]]}, "rows.csv.xlsx")
    (tmp_path / "rows.csv").write_bytes((tmp_path / "rows.csv.xlsx").read_bytes())
    notices = []
    assert [row.values for _, row in read_rows(str(tmp_path / "rows.csv"), notices)] == [{"text": "a"}]
    assert "is read as `excel`" in notices[0]
    assert source


def test_without_openpyxl_the_command_is_named(workbook, monkeypatch):
    source = workbook({"Rows": [["text"], ["a"]]})
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match=r"pip install 'tunesmith\[excel\]'"):
        rows(source)


def test_an_unknown_way_of_compression_is_damage(tmp_path):
    """A flipped bit can name another method of compression."""
    file = tmp_path / "a.xlsx"
    book = openpyxl.Workbook()
    book.active.append(["text"])
    book.save(file)
    data = bytearray(file.read_bytes())
    at = data.index(b"docProps/core.xml", data.index(b"PK\x01\x02")) - 46 + 10  # in the directory at the end
    data[at : at + 2] = (264).to_bytes(2, "little")
    file.write_bytes(data)
    with pytest.raises(DataError, match="is not an Excel workbook"):
        list(read_rows(str(file)))


def _with_sheet(source, rows):
    with zipfile.ZipFile(source) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    space = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    parts["xl/worksheets/sheet1.xml"] = (
        b'<?xml version="1.0"?><worksheet xmlns="%s"><sheetData>%s</sheetData></worksheet>' % (space, rows)
    )
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as book:
        for name, content in parts.items():
            book.writestr(name, content)


def test_a_sheet_that_unpacks_to_far_more_than_text_does_is_refused(workbook, monkeypatch):
    monkeypatch.setattr(_packing, "_FREE_BYTES", 2**16)
    source = workbook({"Rows": [["text", "label"], ["a", "x"]]})
    assert len(rows(source)) == 1
    _with_sheet(source, b" " * 2_000_000)
    with pytest.raises(DataError, match="more than 200 bytes for each compressed byte"):
        rows(source)


def test_a_row_with_a_number_that_no_sheet_has_is_refused(workbook, monkeypatch):
    monkeypatch.setattr(excel, "_MOST_ROWS", 1000)
    source = workbook({"Rows": [["text", "label"], ["a", "x"]]})
    row = b'<row r="%d"><c r="A%d" t="inlineStr"><is><t>a</t></is></c></row>'
    _with_sheet(source, row % (1, 1) + row % (2 * 10**9, 2 * 10**9))
    with pytest.raises(DataError, match="more than 1,000 rows, which no sheet has"):
        rows(source)
