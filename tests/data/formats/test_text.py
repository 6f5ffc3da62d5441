import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tunesmith.data.formats.text import SECTION_CHARACTERS
from tunesmith.data.reading import read_rows


@pytest.fixture
def rows(tmp_path):
    def read(text, name="a.txt"):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return [row for _, row in read_rows(str(tmp_path / name))]

    return read


def texts(found):
    return [row.values["text"] for row in found]


def test_a_short_text_is_one_section_to_the_character(rows):
    text = "\n First.\r\n\r\n\tSecond,\nstill.  \n\n\n"
    assert texts(rows(text)) == [text]
    assert texts(rows(text, "A.TEXT")) == [text]


def test_sections_end_at_blank_lines_and_hold_many_paragraphs(rows):
    paragraph = "x" * 3000 + "\n \n\n"
    found = rows(paragraph * 7)
    assert texts(found) == [paragraph * 3, paragraph * 3, paragraph]
    assert [(row.line, row.unit) for row in found] == [(1, "line"), (10, "line"), (19, "line")]


def test_a_long_paragraph_is_cut_at_line_ends(rows):
    line = "x" * 2999 + "\n"
    found = rows("short\n\n" + line * 5)
    assert texts(found) == ["short\n\n", line * 3, line * 2]
    assert [row.line for row in found] == [1, 3, 6]


def test_a_long_line_is_cut_at_blanks_and_else_anywhere(rows):
    assert [len(text) for text in texts(rows("nine ates " * 2500))] == [10_000, 10_000, 5_000]
    assert [len(text) for text in texts(rows("nine-ates " + "x" * 20_005))] == [10, 10_000, 10_000, 5]
    assert [row.line for row in rows("a\n" + "nine ates " * 1500)] == [1, 2, 2]


def test_no_section_is_of_blanks_alone_while_there_is_text(rows):
    assert all(text.strip() for text in texts(rows("\n\n" + "x" * 9_990 + "\n" * 20 + "y" * 9_995)))


def test_what_is_not_utf8_is_a_fault_of_its_section(rows):
    found = rows(b"a" * 9_000 + b"\n\n" + b"b\xff" + b"b" * 9_000 + b"\n\n" + b"c" * 9_000)
    assert [(row.line, row.problem) for row in found] == [(1, ""), (3, "not UTF-8."), (5, "")]


PIECES = st.sampled_from(
    ["\n", "\n\n", "\r\n", " ", "\t", "wort ", "ü🚲", "x" * 3_000, "y z " * 900, "\n" * 4_000]
)


@given(pieces=st.lists(PIECES, min_size=1, max_size=30))
@example(pieces=["\n" * 4_000] * 6)
@example(pieces=["x" * 3_000] * 12)
def test_all_sections_one_after_the_other_are_the_file(tmp_path_factory, pieces):
    text = "".join(pieces)
    file = tmp_path_factory.mktemp("text") / "a.txt"
    file.write_bytes(text.encode())
    found = [row for _, row in read_rows(str(file))]
    assert "".join(texts(found)) == text
    assert all(len(section) <= SECTION_CHARACTERS for section in texts(found))
    for before, after in itertools.pairwise(found):
        assert after.line == before.line + before.values["text"].count("\n")


@pytest.mark.parametrize(
    ("name", "n_words"), [("train.txt", 182_487), ("validation.txt", 10_174), ("test.txt", 9_990)]
)
def test_tinyshakespeare_is_whole(shared, name, n_words):
    file = shared / "data" / "tinyshakespeare" / name
    found = texts([row for _, row in read_rows(str(file))])
    assert "".join(found) == file.read_text(encoding="utf-8")
    assert sum(len(section.split()) for section in found) == n_words
    assert all(section.endswith("\n\n") for section in found[:-1])
