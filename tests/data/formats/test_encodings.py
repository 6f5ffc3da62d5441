import pytest

from tunesmith.data.examples import read_examples
from tunesmith.data.formats._encodings import conversion_of, fitting_encoding, text_problem
from tunesmith.data.invalid_rows import refuse_invalid_rows
from tunesmith.data.reading import read_rows
from tunesmith.errors import DataError
from tunesmith.tasks import TASKS

TEXTS = [
    ("café au lait für Öl", "cp1252", "Windows-1252"),
    ("“quoted” – naïve …", "cp1252", "Windows-1252"),
    ("ÉTÉ À PARIS", "latin-1", "Windows-1252"),
    ("le café et le résumé", "mac_roman", "Mac Roman"),
    ("chciałbym zgłosić usterkę", "cp1250", "Windows-1250"),
    ("Привет, как дела", "cp1251", "Windows-1251"),
    ("Καλημέρα κόσμε", "cp1253", "Windows-1253"),
    ("これは日本語のテキストです", "shift_jis", "Shift-JIS"),
    ("한국어 텍스트", "euc_kr", "EUC-KR"),
    ("这是中文文本", "gb18030", "GB18030"),
    ("這是繁體", "big5", "Big5"),
]


@pytest.mark.parametrize(("text", "codec", "name"), TEXTS)
def test_bytes_are_named_by_the_encoding_they_fit(text, codec, name):
    found, word = fitting_encoding(text.encode(codec))
    assert found == name
    assert word == next(word for word in text.split() if not word.isascii())
    escaped = text.encode(codec).decode("utf-8", "surrogateescape")
    assert text_problem(escaped) == f"not UTF-8; as {name} it reads `{word}`."


@pytest.mark.parametrize("data", [b"bad \xff byte", "naïve ".encode() + b"\xff\xfe", b"\x81\x8d\x9d"])
def test_what_fits_nothing_is_not_guessed(data):
    assert fitting_encoding(data) == ("", "")
    assert text_problem(data.decode("utf-8", "surrogateescape")) == "not UTF-8."


def test_the_remedy_converts(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes("text,label\ncafé au lait,a\nthé vert,b\n".encode("cp1252"))
    invalid_rows = read_examples(TASKS.get("text-classification"), [str(file)]).invalid_rows
    with pytest.raises(DataError) as caught:
        refuse_invalid_rows(invalid_rows, 3, remedy="Fix them.")
    assert f"`iconv -f WINDOWS-1252 -t UTF-8 {file} > NEW_FILE`" in str(caught.value)
    assert str(caught.value).count("iconv") == 1
    assert conversion_of("text is empty.", "a.csv") == ""


@pytest.mark.parametrize("codec", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt"])
def test_a_byte_order_mark_is_followed_and_said(tmp_path, codec, name):
    text = '{"text": "café", "label": "a"}\n' if name == "a.jsonl" else "text,label\ncafé,a\n"
    (tmp_path / name).write_bytes(text.encode(codec))
    notices = []
    found = [row for _, row in read_rows(str(tmp_path / name), notices)]
    assert "café" in found[0].values["text"]
    assert notices == (
        [] if codec == "utf-8-sig" else
        [f"`{tmp_path / name}` is read as {codec.upper()}, because of its byte order mark"]
    )  # fmt: skip


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf16_without_its_mark_is_named(tmp_path, codec):
    (tmp_path / "a.csv").write_bytes("text,label\nhello,a\n".encode(codec))
    with pytest.raises(
        DataError, match=f"is {codec.upper().replace('-', '', 0)[:6]}.*without a byte order mark"
    ):
        list(read_rows(str(tmp_path / "a.csv")))


def test_half_a_character_of_utf16_is_a_fault(tmp_path):
    (tmp_path / "a.csv").write_bytes(
        "text,label\nfine,a\nhal".encode("utf-16") + b"\x00\xd8" + ",b\n".encode("utf-16-le")
    )
    found = [row for _, row in read_rows(str(tmp_path / "a.csv"))]
    assert [row.problem for row in found] == ["", "not UTF-8: it holds half of a character."]
