import bz2
import gzip
import hashlib

import pytest

from tunesmith.data.reading import fingerprint_of, read_rows, source_files, source_name
from tunesmith.errors import DataError

pytestmark = pytest.mark.usefixtures("lean")


@pytest.fixture
def train(tmp_path):
    def write(**texts):
        for language, text in texts.items():
            (tmp_path / f"train.{language}").write_bytes(text if isinstance(text, bytes) else text.encode())
        return f"parallel:{tmp_path}/train.{{{','.join(texts)}}}"

    return write


def rows(source):
    return [row for _, row in read_rows(source)]


def test_files_match_line_by_line(train):
    found = rows(train(en="A bike.\r\n\nA bell.\n", de="Ein Rad.\n \nEine Klingel.", cs="Kolo.\n\nZvonek.\n"))
    assert [(row.line, row.values) for row in found] == [
        (1, {"en": "A bike.", "de": "Ein Rad.", "cs": "Kolo."}),
        (3, {"en": "A bell.", "de": "Eine Klingel.", "cs": "Zvonek."}),
    ]


def test_a_line_that_is_blank_on_one_side_is_a_row(train):
    assert rows(train(en="a\n\n", de="b\nc\n"))[1].values == {"en": "", "de": "c"}


@pytest.mark.parametrize("odd", ["\r", "\u2028", "\x85", "\x0c"])
def test_odd_characters_do_not_shift_the_lines(train, odd):
    found = rows(train(en=f"one{odd}two\nthree\n", de="eins zwei\ndrei\n"))
    assert [row.values for row in found] == [
        {"en": f"one{odd}two", "de": "eins zwei"},
        {"en": "three", "de": "drei"},
    ]


@pytest.mark.parametrize(("en", "de"), [("a\nb\nc\n", "a\n"), ("a\n", "a\nb\nc")])
def test_different_numbers_of_lines_are_an_error_that_names_both(train, tmp_path, en, de):
    source = train(en=en, de=de)
    counts = [f"train.{name}` has {1 if len(text) < 3 else 3}" for name, text in (("en", en), ("de", de))]
    with pytest.raises(DataError) as raised:
        rows(source)
    assert all(count in str(raised.value) for count in counts)


def test_a_line_that_is_not_utf8_is_a_fault(train):
    found = rows(train(en=b"a\n\xff\nc\n", de="a\nb\nc\n"))
    assert [(row.line, row.problem) for row in found] == [(1, ""), (2, "not UTF-8."), (3, "")]


def test_compressed(tmp_path):
    for language in ("en", "de"):
        (tmp_path / f"a.{language}.gz").write_bytes(gzip.compress(language.encode()))
        (tmp_path / f"{language}.txt.bz2").write_bytes(bz2.compress(language.encode()))
    for pattern in ("a.{en,de}.gz", "{ en , de }.txt.bz2"):
        assert [row.values for row in rows(f"parallel:{tmp_path}/{pattern}")] == [{"en": "en", "de": "de"}]


def test_files_fingerprint_and_name(train, tmp_path):
    source = train(en="a\n", de="b\n")
    assert source_files(source) == [tmp_path / "train.de", tmp_path / "train.en"]
    assert fingerprint_of(source) == hashlib.sha256(b"a\n").digest() + hashlib.sha256(b"b\n").digest()
    assert source_name(source) == f"{tmp_path}/train.{{en,de}}"
    assert [row.location(file) for file, row in read_rows(source)] == [f"{tmp_path}/train.{{en,de}}, line 1"]


@pytest.mark.parametrize(
    "pattern", ["train.en", "train.{en}", "train.{en,en}", "{a,}", "{a,b}.{c,d}", "{a,b"]
)
def test_two_or_more_languages_must_be_named(pattern):
    with pytest.raises(DataError, match="two or more"):
        rows(f"parallel:{pattern}")


def test_a_missing_file_is_named(train, tmp_path):
    source = train(en="a\n", de="b\n")
    (tmp_path / "train.de").unlink()
    with pytest.raises(DataError, match=r"no such file: .*train\.de"):
        rows(source)
