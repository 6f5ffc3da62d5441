import pytest

from tunesmith.tasks import RowError
from tunesmith.tasks._cells import label_splitter, parsed_cell


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("['traffic', 'waste']", ["traffic", "waste"]),
        ('["traffic", "it\'s"]', ["traffic", "it's"]),
        ("[]", []),
        ("{'text': ['a'], 'answer_start': [3]}", {"text": ["a"], "answer_start": [3]}),
        ('{"text": ["a"], "answer_start": [3]}', {"text": ["a"], "answer_start": [3]}),
        ("[('a', None)]", [("a", None)]),
        ("plain text", "plain text"),
        ("(1995)", "(1995)"),
        (["a"], ["a"]),
        (None, None),
    ],
)
def test_lists_and_objects_of_json_and_python(cell, value):
    assert parsed_cell(cell, "labels") == value


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("['traffic' 'waste']", "texts without a comma between them"),
        ("['traffic'\n 'waste']", "texts without a comma between them"),
        ("{'text': array(['a'], dtype=object)}", "an array printed by numpy"),
        ("[joy, anger]", "neither JSON nor a Python list"),
        ("[" * 100_000, "neither JSON nor a Python list"),
        ("__import__('os')", ""),
        ("[__import__('os')]", "neither JSON nor a Python list"),
    ],
)
def test_what_is_neither(cell, reason):
    if not reason:
        assert parsed_cell(cell, "labels") == cell
        return
    with pytest.raises(RowError, match=reason):
        parsed_cell(cell, "labels")


def test_the_separator_is_that_of_the_column():
    split = label_splitter(["Waste, recycling;Noise", "Waste, recycling", "", "Noise"], None)
    assert split("Waste, recycling") == ["Waste, recycling"]
    assert split("Noise; Waste, recycling ;") == ["Noise", "Waste, recycling"]
    assert split("['Noise']") == ["Noise"]
    assert split("") == []
    assert split(["a;b"]) == ["a;b"]


def test_a_surer_separator_that_comes_late_is_named():
    split = label_splitter(["a, b", "c"], None)
    assert split("a, c") == ["a", "c"]
    with pytest.raises(RowError, match="labels in this column are separated by `,`, and one has `;`"):
        split("a;b")


def test_where_labels_are_known_they_tell_the_separator():
    known = ["Waste, recycling", "Noise"]
    assert label_splitter(["Waste, recycling"], known)("Waste, recycling") == ["Waste, recycling"]
    assert label_splitter(["Noise; Waste, recycling"], known)("Noise;Noise") == ["Noise", "Noise"]
