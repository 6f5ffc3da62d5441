import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.data.reading import read_rows, source_files
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


def test_arrow_stream_is_read_too(tmp_path):
    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_stream(tmp_path / "s.arrow", table.schema) as writer:
        writer.write_table(table)
    assert values(tmp_path / "s.arrow") == ROWS


@pytest.mark.parametrize(
    "content", [{"data": ROWS}, {"text": [r["text"] for r in ROWS], "label": ["x", "y"]}]
)
def test_json_may_wrap_its_rows_or_hold_columns(tmp_path, content):
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert values(tmp_path / "a.json") == ROWS


def test_lines_are_where_rows_begin(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\n"one\ntwo\nthree",x\n\nfour,y\n')
    assert [row.line for row in rows(tmp_path / "a.csv")] == [2, 6]
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n\n{"text": "b"}\n')
    assert [row.line for row in rows(tmp_path / "a.jsonl")] == [1, 3]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_the_delimiter_is_that_of_the_header(tmp_path, delimiter):
    (tmp_path / "a.csv").write_text(f"text{delimiter}label\nhello there{delimiter}x\n")
    assert values(tmp_path / "a.csv") == [{"text": "hello there", "label": "x"}]


def test_byte_order_mark_and_windows_lines(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbftext,label\r\nhello,x\r\n")
    assert values(tmp_path / "a.csv") == [{"text": "hello", "label": "x"}]


def test_bad_rows_have_line_and_reason_and_the_rest_is_read(tmp_path):
    (tmp_path / "a.csv").write_bytes(
        b"text,label\ngood,x\nonly one\ntoo,many,fields\nbad \xff byte,x\nfine,y\n"
    )
    found = rows(tmp_path / "a.csv")
    assert [(row.line, row.fault) for row in found if row.fault] == [
        (3, "1 fields, the header has 2."),
        (4, "3 fields, the header has 2."),
        (5, "not UTF-8."),
    ]
    assert [row.values["text"] for row in found if not row.fault] == ["good", "fine"]


def test_an_open_quote_is_a_fault_of_its_line(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\ngood,x\n"never closed,x\nfine,y\n')
    assert [(row.line, row.fault) for row in rows(tmp_path / "a.csv") if row.fault] == [
        (3, "not CSV: unexpected end of data.")
    ]


def test_bad_json_lines(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n{"text": \n[1]\n{"text": "\xff"}\n')
    assert [row.line for row in rows(tmp_path / "a.jsonl") if row.fault] == [2, 3, 4]


def test_one_folder_a_class(tmp_path):
    for label, text in (("good", "fine bike"), ("bad", "flat tyre")):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.txt").write_text(text)
    assert values(tmp_path) == [{"text": "flat tyre", "label": "bad"}, {"text": "fine bike", "label": "good"}]
    assert len(source_files(str(tmp_path))) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"text,label\x00\x01\x02", "is a binary file"),
        ("a.xlsx", b"PK", "no known format"),
        ("a.json", b"{", "is not JSON"),
        ("a.json", b'{"a": 1}', "must hold a list of objects"),
        ("a.csv", b"text,text\na,b\n", "stands twice in the header"),
        ("a.parquet", b"PAR0 no parquet", "not what its ending says"),
        ("a.csv.gz", b"not gzip", "damaged gzip file"),
        ("a.csv.gz", CUT, "damaged gzip file"),
        ("a.jsonl.gz", CUT, "damaged gzip file"),
        ("a.parquet.gz", CUT, "damaged gzip file"),
        ("a.csv", b'"text,label\na,b\n', "the header is not CSV"),
    ],
)
def test_files_that_are_not_what_they_should_be(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        rows(tmp_path / name)


def test_a_missing_file_and_an_empty_folder(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        rows(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match=r"hub:stanfordnlp/imdb"):
        list(read_rows("stanfordnlp/imdb"))
    with pytest.raises(DataError, match=r"holds no `LABEL/\*\.txt`"):
        rows(tmp_path)


def test_a_hub_data_set_that_is_out_of_reach_says_so():
    with pytest.raises(DataError, match="the Hub data set `nobody/nothing` cannot be loaded"):
        list(read_rows("hub:nobody/nothing"))


def test_class_labels_of_a_hub_data_set_come_as_names(monkeypatch):
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    table = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    asked = {}
    monkeypatch.setattr(datasets, "load_dataset", lambda name, **how: asked.update(name=name, **how) or table)
    assert values_of("hub:some/set:test") == [{"text": "a", "label": "pos"}, {"text": "b", "label": "neg"}]
    assert (asked["name"], asked["split"]) == ("some/set", "test")


def values_of(source):
    return [row.values for _, row in read_rows(source)]
