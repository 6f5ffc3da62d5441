"""Predictions in every format are the same answers."""

import csv
import io

import pyarrow.parquet
import pytest

from tunesmith.inference import writing
from tunesmith.inference.writing import FORMATS, write_file, write_tsv

LINES = [
    {"row": "a:1", "text": "a\tcat", "label": "x", "score": 1},
    {"row": "a:2", "text": "=1+1", "label": "y", "score": 0.5, "top": [{"label": "y", "score": 0.5}]},
    {"row": "a:3", "error": "text is empty."},
]


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_appears_whole_or_not_at_all(tmp_path, name):
    path = tmp_path / f"out.{name}"
    assert write_file(iter(LINES), path, name) == 3
    assert [file.name for file in tmp_path.iterdir()] == [path.name]

    def failing():
        yield LINES[0]
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        write_file(failing(), tmp_path / f"other.{name}", name)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_tsv_quotes_tabs():
    out = io.StringIO()
    write_tsv(LINES, out)
    rows = list(csv.DictReader(io.StringIO(out.getvalue()), delimiter="\t"))
    assert [row["text"] for row in rows] == ["a\tcat", "'=1+1", ""]


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_parquet_has_one_schema_for_all_lines(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(writing, "_ROWS_AT_ONCE", at_once)
    write_file(LINES, tmp_path / "out.parquet", "parquet")
    rows = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["score"] for row in rows] == [1.0, 0.5, None]
    assert rows[1]["text"] == "=1+1"
    assert rows[1]["top"] == [{"label": "y", "score": 0.5}]
    assert [row["error"] for row in rows] == [None, None, "text is empty."]


@pytest.mark.parametrize("at_once", [1, 100])
def test_values_of_several_types_are_text(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(writing, "_ROWS_AT_ONCE", at_once)
    lines = [{"row": "a:1", "answer": "yes"}, {"row": "a:2", "answer": 3}, {"row": "a:3", "answer": {"b": 1}}]
    write_file(lines, tmp_path / "out.parquet", "parquet")
    rows = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["answer"] for row in rows] == ['"yes"', "3", '{"b": 1}']
