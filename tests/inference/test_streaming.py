import csv
import io
import json

import pytest

import tunesmith
from tunesmith.errors import DataError
from tunesmith.inference.streaming import (
    predict_rows,
    rows_of_files,
    rows_of_lines,
)
from tunesmith.inference.writing import write_csv, write_json_lines
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import tiny_rows, write_rows

TASK = TASKS.get("text-classification")


@pytest.fixture(scope="module")
def predictor(finished_run):
    return tunesmith.load(finished_run.path)


def lines(predictor, rows, **how):
    return list(predict_rows(predictor, rows, {}, **{"keep_bad_rows": False, **how}))


def test_a_file_gives_a_line_a_row(predictor, tmp_path):
    rows = tiny_rows(30, seed=4)
    file = write_rows(tmp_path / "a.csv", rows)
    found = lines(predictor, rows_of_files([str(file)]))
    assert [line["row"] for line in found] == [f"a.csv:{i}" for i in range(2, 32)]
    assert [line["text"] for line in found] == [row["text"] for row in rows]
    assert [line["label"] for line in found] == [p["label"] for p in predictor([r["text"] for r in rows])]
    assert "scores" not in found[0]


def test_lines_of_a_pipe(predictor):
    found = lines(predictor, rows_of_lines(["a cat\n", "\n", "red\r\n"], TASK), top_k=2)
    assert [line["row"] for line in found] == ["standard input:1", "standard input:3"]
    assert found[0]["top"][0]["label"] == found[0]["label"]
    assert len(found[0]["top"]) == 2


def test_a_bad_row_stops_by_default_and_is_kept_on_demand(predictor, tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("text,label\na cat,x\n,x\nred,x,more\nblue,x\n")
    with pytest.raises(DataError, match=r"a\.csv, line 3: the row cannot be used: text is empty"):
        lines(predictor, rows_of_files([str(file)]))
    found = lines(predictor, rows_of_files([str(file)]), keep_bad_rows=True)
    assert [line.get("error") for line in found] == [
        None, "text is empty.", "3 fields, the header has 2.", None,
    ]  # fmt: skip


def test_no_rows_is_an_error(predictor):
    with pytest.raises(DataError, match="no text to predict for"):
        lines(predictor, rows_of_lines(["\n"], TASK))


def test_output_formats(predictor):
    found = lines(predictor, rows_of_lines(["a cat, and a dog", "red"], TASK), top_k=2)
    as_json, as_csv = io.StringIO(), io.StringIO()
    assert write_json_lines(found, as_json) == write_csv(iter(found), as_csv) == 2
    assert json.loads(as_json.getvalue().splitlines()[0])["text"] == "a cat, and a dog"
    row = next(csv.DictReader(io.StringIO(as_csv.getvalue())))
    assert row["text"] == "a cat, and a dog"
    assert json.loads(row["top"])[0]["label"] == row["label"]


def test_rows_are_read_as_they_are_needed(predictor):
    read = []

    def endless():
        number = 0
        while True:
            number += 1
            read.append(number)
            yield "a cat"

    stream = predict_rows(predictor, rows_of_lines(endless(), TASK), {}, keep_bad_rows=False)
    assert next(stream)["label"]
    assert len(read) <= 2048 + 500


def test_a_task_that_needs_more_than_a_text_reads_json_objects():
    task = TASKS.get("question-answering")
    lines = ['{"question": "who?", "context": "it was the cat"}', "who?"]
    (_, row), (_, wrong) = rows_of_lines(lines, task)
    assert row.values == {"question": "who?", "context": "it was the cat"}
    assert 'needs a JSON object like {"question"' in wrong.problem


def test_a_header_waits_for_the_first_answer():
    """With more rows at fault than a chunk holds, the answers after them still find their columns."""
    invalid_rows = [{"row": f"a:{i}", "error": "no text."} for i in range(3000)]
    out = io.StringIO()
    assert write_csv([*invalid_rows, {"row": "a:3000", "text": "t", "label": "x"}], out) == 3001
    last = list(csv.DictReader(io.StringIO(out.getvalue())))[-1]
    assert last["label"] == "x"


def test_a_column_that_appears_late_is_in_the_header(tmp_path):
    out = io.StringIO()
    lines = [{"row": f"a:{i}", "label": "x"} for i in range(3000)] + [
        {"row": "a:3000", "label": "y", "late": 1}
    ]
    assert write_csv(iter(lines), out) == 3001
    found = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert (found[0]["late"], found[-1]["late"]) == ("", "1")


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_what_a_spreadsheet_would_compute_is_written_as_text(text):
    out = io.StringIO(newline="")
    write_csv([{"row": "a:1", "text": text}], out)
    assert next(csv.DictReader(io.StringIO(out.getvalue(), newline="")))["text"] == f"'{text}"


@pytest.mark.parametrize("value", ["-5", "+3.5", "a-b", "1=1", -0.5])
def test_numbers_and_other_texts_are_written_as_they_are(value):
    out = io.StringIO()
    write_csv([{"row": "a:1", "text": value}], out)
    assert next(csv.DictReader(io.StringIO(out.getvalue())))["text"] == str(value)
