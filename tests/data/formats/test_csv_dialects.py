"""What delimiters, quotes and headers of CSV and TSV are taken for."""

import pytest

from tunesmith.data.reading import read_rows
from tunesmith.errors import DataError


@pytest.fixture
def read(tmp_path):
    """The rows of a file, and what is said of it."""

    def read(content, name="a.csv"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        notices = []
        return [row for _, row in read_rows(str(tmp_path / name), notices)], notices

    return read


def values(found):
    return [tuple(row.values.values()) for row in found if not row.problem]


def invalid_rows(found):
    return [(row.line, row.problem) for row in found if row.problem]


@pytest.mark.parametrize("line", ["sep=;", "SEP=;\r", '"sep=;"', "sep=; "])
def test_a_line_that_says_the_delimiter_is_no_row(read, line):
    found, _ = read(f"{line}\ntext;label\na, b;x\n")
    assert [(row.line, row.values) for row in found] == [(3, {"text": "a, b", "label": "x"})]


def test_a_comma_in_a_columns_name_is_not_the_delimiter(read):
    found, _ = read("Text (so, wie er kam);Label\nheute, morgen, nie;x\nja;y\n")
    assert found[1].values == {"Text (so, wie er kam)": "ja", "Label": "y"}


def test_empty_columns_and_lines_beside_and_below_the_table_hold_nothing(read):
    found, _ = read("text;label;;\na;x;;\nb;y;;\n;;;\n;;;\n")
    assert [(row.line, row.values) for row in found] == [
        (2, {"text": "a", "label": "x"}),
        (3, {"text": "b", "label": "y"}),
    ]
    assert values(read("text;label\na;x;;\n")[0]) == [("a", "x")]


def test_a_column_without_a_name_is_called_by_its_number(read):
    found, _ = read(",text,label\n0,a,x\n1,b,y\n")
    assert found[0].values == {"column 1": "0", "text": "a", "label": "x"}


def test_blank_lines_may_stand_above_the_header(read):
    assert values(read("\n\ntext,label\na,x\n")[0]) == [("a", "x")]


def test_tsv_of_a_tool_that_never_quotes(read):
    found, notices = read('text\tlabel\n"a\tx\nthe kerb is 12"\ty\n"b" and c\tx\n', "a.tsv")
    assert values(found) == [('"a', "x"), ('the kerb is 12"', "y"), ('"b" and c', "x")]
    assert "are read as plain characters: in 3 of 3 rows" in notices[0]


def test_tsv_that_is_quoted_as_csv(read):
    found, notices = read('text\tlabel\n"a\nb ""c"""\tx\n"d\te"\ty\nf\tx\n', "a.tsv")
    assert values(found) == [('a\nb "c"', "x"), ("d\te", "y"), ("f", "x")]
    assert [(row.line, row.n_lines) for row in found] == [(2, 2), (4, 1), (5, 1)]
    assert notices == []


def test_tsv_with_commas_is_read_with_commas_and_said(read):
    found, notices = read("text,label\na,x\n", "a.tsv")
    assert values(found) == [("a", "x")]
    assert "no tab in its header" in notices[0]


def test_an_unclosed_quote_costs_its_line_and_no_other(read):
    rows = "".join(f"text {i},{'xy'[i % 2]}\n" for i in range(1000))
    found, _ = read("text,label\n" + rows[:900] + '"open,x\n' + rows[900:])
    assert len(invalid_rows(found)) == 1
    assert "a quote is opened in this line" in invalid_rows(found)[0][1]
    assert len(values(found)) == 1000


def test_a_quote_that_a_later_row_closes_does_not_take_in_the_rows_between(read):
    """`never closed … size 12` would be one text of three lines to any other reader."""
    plain = "".join(f"text {i},{'xyz'[i % 3]}\n" for i in range(9))
    found, _ = read(f'text,label\n{plain}"never closed,x\nfine,y\nsize 12",z\n')
    assert invalid_rows(found) == [
        (11, "not CSV: a quote is opened in this line, and the 2 lines to its end are rows.")
    ]
    assert values(found)[-2:] == [("fine", "y"), ('size 12"', "z")]


def test_lines_within_quotes_that_could_be_rows_are_said_where_nothing_tells(read):
    found, notices = read('text,answer\n"one, two\nthree, four",five\nsix,seven\n')
    assert values(found) == [("one, two\nthree, four", "five"), ("six", "seven")] or notices == []
    found, notices = read('text,answer\n"one, two\nthree",five\nsix,seven\n')
    assert values(found) == [("one, two\nthree", "five"), ("six", "seven")]
    assert "1 rows of" in notices[0]
    assert "the first in line 2" in notices[0]


def test_lines_after_a_broken_quote_are_rows_only_when_they_read_as_such(read):
    plain = "".join(f"text {i},{'xy'[i % 2]}\n" for i in range(9))
    found, _ = read(f'text,label\n{plain}"Dear all,\nI write, and so on\nbye" oops,x\nlast,y\n')
    assert [line for line, _ in invalid_rows(found)] == [11, 12, 13]
    assert values(found)[-1] == ("last", "y")


def test_a_header_that_takes_in_rows_is_refused(read):
    with pytest.raises(DataError, match="includes 2 lines that are rows"):
        read('"text,label\na,x\nb",y\n')


def test_a_nul_is_a_fault_of_its_row(read):
    found, _ = read(b"text,label\n" + b"a text of some length,x\n" * 20 + b"hurt\0,y\n")
    assert invalid_rows(found) == [(22, "it holds a NUL byte, which no text has.")]


def test_backslashes_that_were_meant_to_escape_are_said(read):
    found, notices = read('text,label\nHe said \\"no\\",x\nplain,y\n')
    assert values(found) == [('He said \\"no\\"', "x"), ("plain", "y")]
    assert "1 of the first 3 lines" in notices[0]


def test_a_row_without_values_is_a_row_but_for_those_at_the_end_of_a_table(read):
    found, notices = read("text,label\na,x\n,\nb,y\n,\n,\n")
    assert [(row.line, row.values) for row in found] == [
        (2, {"text": "a", "label": "x"}),
        (3, {"text": "", "label": ""}),
        (4, {"text": "b", "label": "y"}),
    ]
    (notice,) = notices
    assert notice.startswith("2 lines with only delimiters at the end of ")


def test_a_quoted_text_of_nothing_is_a_row_of_a_table_with_one_column(read):
    """As pandas writes an empty text."""
    assert values(read('text\na cat\n""\n')[0]) == [("a cat",), ("",)]
