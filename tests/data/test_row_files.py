import pytest

from tunesmith.data.reading import read_rows
from tunesmith.data.row_files import refuse_ending, write_rows
from tunesmith.errors import RecipeError

ROWS = [
    {"text": "plain", "n": 1, "tags": ["a", "b"]},
    {"text": 'with "quotes", commas\nand lines', "n": None, "tags": [], "more": "x"},
    {"text": "=SUM(A1)", "n": 2.5, "tags": ["c"]},
]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_rows_come_back_as_they_were(tmp_path, ending):
    assert write_rows(tmp_path / f"rows{ending}", lambda: ROWS) == 3
    back = [row.values for _, row in read_rows(str(tmp_path / f"rows{ending}"))]
    for row, there in zip(ROWS, back, strict=True):
        assert {name: there.get(name) for name in row} == row


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_table_has_every_column_and_lists_as_json(tmp_path, ending):
    write_rows(tmp_path / f"rows{ending}", lambda: iter(ROWS))
    back = [row.values for _, row in read_rows(str(tmp_path / f"rows{ending}"))]
    assert [row["text"] for row in back] == [row["text"] for row in ROWS]
    assert back[0]["tags"] == '["a", "b"]'
    assert back[1]["more"] == "x"


def test_columns_of_several_types_are_text_in_parquet(tmp_path):
    rows = [{"value": 1}, {"value": "one"}, {"value": [1]}, {"value": None}]
    write_rows(tmp_path / "rows.parquet", lambda: rows)
    assert [row.values["value"] for _, row in read_rows(str(tmp_path / "rows.parquet"))] == [
        "1",
        "one",
        "[1]",
        None,
    ]


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"must end in \.jsonl"):
        refuse_ending(tmp_path / "rows.xlsx")
