import pytest

from tunesmith.data.reading import read_rows
from tunesmith.errors import DataError


def rows(path):
    return [row for _, row in read_rows(str(path))]


def values(path):
    return [row.values for row in rows(path)]


def test_lines_are_where_rows_begin(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\n"one\ntwo\nthree",x\n\nfour,y\n')
    assert [(row.line, row.unit) for row in rows(tmp_path / "a.csv")] == [(2, "line"), (6, "line")]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_the_delimiter_is_that_of_the_header(tmp_path, delimiter):
    (tmp_path / "a.csv").write_text(f"text{delimiter}label\nhello there{delimiter}x\n")
    assert values(tmp_path / "a.csv") == [{"text": "hello there", "label": "x"}]


@pytest.mark.parametrize("name", ["a.tsv", "A.TSV", "a.Tsv"])
def test_the_delimiter_of_tsv_is_a_tab_however_the_ending_is_written(tmp_path, name):
    (tmp_path / name).write_text("text,with,commas\tlabel\na,b\tx\n")
    assert values(tmp_path / name) == [{"text,with,commas": "a,b", "label": "x"}]


def test_byte_order_mark_and_windows_lines(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbftext,label\r\nhello,x\r\n")
    assert values(tmp_path / "a.csv") == [{"text": "hello", "label": "x"}]


def test_a_header_may_span_lines(tmp_path):
    (tmp_path / "a.csv").write_text('"the\ntext",label\nhello,x\n')
    assert [(row.line, row.values) for row in rows(tmp_path / "a.csv")] == [
        (3, {"the\ntext": "hello", "label": "x"})
    ]


def test_bad_rows_have_line_and_reason_and_the_rest_is_read(tmp_path):
    (tmp_path / "a.csv").write_bytes(
        b"text,label\ngood,x\nonly one\ntoo,many,fields\nbad \xff byte,x\nfine,y\n"
    )
    found = rows(tmp_path / "a.csv")
    assert [(row.line, row.problem) for row in found if row.problem] == [
        (3, "1 fields, the header has 2."),
        (4, "3 fields, the header has 2."),
        (5, "not UTF-8."),
    ]
    assert [row.values["text"] for row in found if not row.problem] == ["good", "fine"]


def test_an_open_quote_is_a_fault_of_its_line(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\ngood,x\n"never closed,x\nfine,y\n')
    assert [(row.line, row.problem) for row in rows(tmp_path / "a.csv") if row.problem] == [
        (3, "not CSV: a quote is opened in this line and never closed correctly.")
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,label\x00\x01\x02", "is a binary file"),
        (b"text,text\na,b\n", "occurs twice in the header"),
        (b'"text,label\na,b\n', "the header is not CSV"),
    ],
)
def test_what_is_no_csv(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        rows(tmp_path / "a.csv")
