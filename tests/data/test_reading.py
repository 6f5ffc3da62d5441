import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.data.formats import FORMATS, FileFormat, Row, SourceFormat
from tunesmith.data.reading import fingerprint_of, read_rows, source_files, source_name
from tunesmith.errors import DataError

ROWS = [{"text": 'a, "b"\nc', "label": "x"}, {"text": "dé 🚲", "label": "y"}]
# Well beyond the first bytes that are looked at to tell text from a binary file.
CUT = gzip.compress("".join(f"text {i * 7919 % 1000003} {i},x\n" for i in range(30000)).encode())[:-5000]
CSV = 'text,label\n"a, ""b""\nc",x\ndé 🚲,y\n'


def rows(path):
    return [row for _, row in read_rows(str(path))]


def values(path):
    return [row.values for row in rows(path)]


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl", "parquet", "arrow", "feather"])
@pytest.mark.parametrize("compressed", [False, True])
def test_every_format_gives_the_same_rows(tmp_path, ending, compressed):
    file = tmp_path / f"data.{ending}"
    table = pa.Table.from_pylist(ROWS)
    if ending == "parquet":
        pq.write_table(table, file)
    elif ending in ("arrow", "feather"):
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    else:
        text = {
            "csv": CSV,
            "tsv": CSV.replace(",x", "\tx").replace(",y", "\ty").replace("text,", "text\t"),
            "json": json.dumps(ROWS),
            "jsonl": "\n".join(map(json.dumps, ROWS)),
        }[ending]
        file.write_text(text, encoding="utf-8")
    if compressed:
        packed = tmp_path / f"data.{ending}.gz"
        packed.write_bytes(gzip.compress(file.read_bytes()))
        file = packed
    assert values(file) == ROWS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"text,label\x00\x01\x02", "is a binary file"),
        ("a.docx", b"PK", "no known format.*Save the text as .txt"),
        ("a.xlsx", b"PK", "is not an Excel workbook"),
        ("a", b"text", "ends in `nothing`"),
        ("a.csv.gz", b"not gzip", "damaged gzip file"),
        ("a.csv.gz", CUT, "damaged gzip file"),
        ("a.jsonl.gz", CUT, "damaged gzip file"),
        ("a.parquet.gz", CUT, "damaged gzip file"),
    ],
)
def test_files_that_are_not_what_they_should_be(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        rows(tmp_path / name)


def test_an_unknown_ending_is_answered_with_the_known_ones(tmp_path):
    (tmp_path / "a.docx").write_bytes(b"PK")
    with pytest.raises(
        DataError, match=r"\.conll, \.conllu, \.csv, .* \.tmx, .*each also with \.gz, \.bz2, \.xz, \.zst"
    ):
        rows(tmp_path / "a.docx")


def test_a_missing_file_and_an_empty_folder(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        rows(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match=r"hub:stanfordnlp/imdb"):
        list(read_rows("stanfordnlp/imdb"))
    with pytest.raises(DataError, match=r"holds no `LABEL/\*\.txt`"):
        rows(tmp_path)
    for missing in (source_files, fingerprint_of):
        with pytest.raises(DataError, match="no such file"):
            missing(str(tmp_path / "nothing.csv"))


def test_rows_come_before_the_file_is_read_to_its_end(tmp_path):
    (tmp_path / "a.csv").write_text("text\n" + "x\n" * 100_000 + '"open')
    found = read_rows(str(tmp_path / "a.csv"))
    assert next(found) == (str(tmp_path / "a.csv"), Row(2, {"text": "x"}))
    found.close()


def test_a_file_is_named_as_it_was_given(tmp_path):
    assert source_name("./data/a.csv") == "data/a.csv"
    assert source_name("user@host.csv") == "user@host.csv"


def test_every_format_says_what_it_reads():
    entries = [FORMATS.get(name) for name in FORMATS.names()]
    endings = [ending for entry in entries if isinstance(entry, FileFormat) for ending in entry.endings]
    assert all(entry.summary for entry in entries)
    assert len(set(endings)) == len(endings)
    assert all(ending == ending.lower() and ending.startswith(".") for ending in endings)
    assert {type(entry) for entry in entries} == {FileFormat, SourceFormat}


def test_a_format_of_ones_own_is_registered(tmp_path):
    def read(file):
        with file.open_text() as handle:
            yield from (Row(number, {"text": line.strip()}) for number, line in enumerate(handle, start=1))

    (tmp_path / "a.lines.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
    with FORMATS.replaced("lines", FileFormat("a text a line", (".lines",), read)):
        assert values(tmp_path / "a.lines.gz") == [{"text": "one"}, {"text": "two"}]
