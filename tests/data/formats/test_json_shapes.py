"""JSON that is not of the format that its ending says, and shapes of documents."""

import json

import pytest

from tunesmith.data.preparing import find_splits
from tunesmith.data.reading import read_rows
from tunesmith.errors import DataError
from tunesmith.recipe import DataRecipe, Recipe

ROWS = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]


@pytest.fixture
def read(tmp_path):
    def read(name, content):
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        notices = []
        return [row for _, row in read_rows(str(tmp_path / name), notices)], notices

    return read


LINES = "\n".join(map(json.dumps, ROWS))


def test_json_lines_in_a_json_file(read):
    found, notices = read("a.json", LINES + "\n{broken\n")
    assert [row.values for row in found[:2]] == ROWS
    assert (found[2].line, found[2].unit) == (3, "line")
    assert "is read as JSON lines" in notices[0]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("document", [ROWS, {"data": ROWS}, {"text": ["a", "b"], "label": ["x", "y"]}])
def test_a_document_in_a_json_lines_file(read, indent, document):
    if indent is None and isinstance(document, dict):
        pytest.skip("one object on one line is a row")
    found, notices = read("a.jsonl", json.dumps(document, indent=indent))
    assert [row.values for row in found] == ROWS
    assert "one JSON document" in notices[0]


def test_a_list_that_is_cut_is_still_named_line_by_line(read):
    found, _ = read("a.jsonl", json.dumps(ROWS, indent=1)[:-5])
    assert found
    assert all(row.problem for row in found)


def test_several_splits_in_one_document(read, tmp_path):
    content = {"version": "1.0", "train": ROWS, "validation": ROWS[:1]}
    file = str(tmp_path / "a.json")
    with pytest.raises(DataError, match="holds 2 lists of rows") as caught:
        read("a.json", content)
    assert f"`{file}#train`, `{file}#validation`" in str(caught.value)
    data = find_splits(Recipe(data=DataRecipe(train=[file]))).data
    assert (data.train, data.validation) == ([f"{file}#train"], [f"{file}#validation"])
    assert [row.values for _, row in read_rows(f"{file}#validation")] == ROWS[:1]
    with pytest.raises(DataError, match="holds no rows called `test`"):
        list(read_rows(f"{file}#test"))


def test_a_file_with_a_hash_in_its_own_name(read):
    assert [row.values for row in read("a#1.json", ROWS)[0]] == ROWS


PAIRS = [["Ada is here", {"entities": [[0, 3, "PER"]]}], ["Nobody", {"entities": []}]]


@pytest.mark.parametrize(("name", "content"), [
    ("a.json", json.dumps(PAIRS)), ("a.jsonl", "\n".join(map(json.dumps, PAIRS))), ("b.jsonl", json.dumps(PAIRS)),
])  # fmt: skip
def test_training_data_of_spacy(read, name, content):
    found, _ = read(name, content)
    assert [row.values for row in found] == [
        {"text": "Ada is here", "entities": [[0, 3, "PER"]]},
        {"text": "Nobody", "entities": []},
    ]


UNUSUAL = [
    ("a.data", json.dumps(ROWS), "json"),
    ("a", LINES, "json-lines"),
    ("a.tab", "text\tlabel\na\tx\nb\ty\n", "csv"),
    ("a.xls", "text\tlabel\na\tx\nb\ty\n", "csv"),
    ("a.dat", "Ada B-PER\nis O\n\nhere O\n", "conll"),
    ("a.x", "<?xml version='1.0'?><tmx version='1.4'><body></body></tmx>", "tmx"),
]


@pytest.mark.parametrize(("name", "content", "format_name"), UNUSUAL)
def test_an_unusual_ending_is_recognised_by_content_and_said(read, name, content, format_name):
    _, notices = read(name, content)
    assert f"is read as `{format_name}`" in notices[0]


@pytest.mark.parametrize("orient", ["records", "split", "columns", "index", "table"])
def test_every_way_that_pandas_writes_json(read, orient):
    import pandas as pd

    found, _ = read("a.json", pd.DataFrame(ROWS).to_json(orient=orient))
    assert [{name: row.values[name] for name in ("text", "label")} for row in found] == ROWS


@pytest.mark.parametrize(
    "document", [{"a": {"x": 1}}, {"a": {"0": 1}, "b": {"1": 2}}, {"data": [["a"]], "columns": ["x", "y"]}]
)
def test_objects_of_objects_that_are_no_table(read, document):
    try:
        assert all(row.problem for row in read("a.json", document)[0])
    except DataError as error:
        assert "must hold a list of objects" in error.rule
