import json

import pytest

from tunesmith.data.reading import read_rows
from tunesmith.errors import DataError

ROWS = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]


def rows(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return [row for _, row in read_rows(str(path))]


@pytest.mark.parametrize("content", [ROWS, {"data": ROWS}, {"text": ["a", "b"], "label": ["x", "y"]}])
def test_json_may_list_its_rows_wrap_them_or_hold_columns(tmp_path, content):
    found = rows(tmp_path / "a.json", content)
    assert [row.values for row in found] == ROWS
    assert [(row.line, row.unit) for row in found] == [(1, "row"), (2, "row")]


def test_what_is_no_object_is_a_fault(tmp_path):
    found = rows(tmp_path / "a.json", [{"text": "a"}, "b", ["c"]])
    assert [row.problem for row in found] == [
        "",
        "a row must be a JSON object, not str.",
        "a row must be a JSON object, not list.",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 200_000, "is not JSON"),
        ('{"a": 1}', "must hold a list of objects"),
        ('{"a": [1], "b": [1, 2]}', "must hold a list of objects"),
        ("3", "must hold a list of objects"),
    ],
)
def test_what_holds_no_rows(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        rows(tmp_path / "a.json", content)
