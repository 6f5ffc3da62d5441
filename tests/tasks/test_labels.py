import pytest

from tunesmith.tasks import TASKS, RowError
from tunesmith.tasks._labels import refuse_unknown_label, spelling_key, spelling_notices
from tunesmith.tasks._values import in_label_order


@pytest.mark.parametrize(
    ("one", "other"), [("Waste", " waste "), ("1", "1.0"), ("TRUE", "true"), ("a  b", "A b"), ("-2", "-2.0")]
)
def test_spellings_of_one_label(one, other):
    assert spelling_key(one) == spelling_key(other)


@pytest.mark.parametrize(("one", "other"), [("1", "10"), ("a.0", "a"), ("--1", "1"), ("true", "1")])
def test_labels_that_differ(one, other):
    assert spelling_key(one) != spelling_key(other)


def test_labels_that_differ_in_spelling_alone_are_told_with_their_rows():
    assert spelling_notices({"waste": 9, "Waste": 2, "noise": 3}) == [
        "labels that differ only in spelling are learned as different: `waste` (9 rows) and `Waste` (2 rows)"
    ]
    assert spelling_notices({"waste": 9, "noise": 3}) == []


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("1.0", "They have `1`, which differs only in spelling."),
        ("wast", "Did you mean `waste`?"),
        ("xyz", "does not occur in the training rows."),
    ],
)
def test_an_unknown_label_says_which_is_near_and_hints_at_all(label, said):
    with pytest.raises(RowError, match="does not occur") as caught:
        refuse_unknown_label(label, ["1", "waste", "noise"])
    assert str(caught.value).endswith(said)
    assert caught.value.hint == "The training rows have: `1`, `waste`, `noise`."


@pytest.mark.parametrize(
    ("value", "said"),
    [("3,5", "with a decimal comma"), ("1.234,5", "with a decimal comma"), ("1,234.5", "separators of thousands"),
     ("1 234", "separators of thousands"), ("three", "got `three`.")],
)  # fmt: skip
def test_numbers_that_are_written_otherwise_are_named(value, said):
    with pytest.raises(RowError, match="score must be a number") as caught:
        TASKS.get("text-regression").read({"text": "a text", "score": value})
    assert said in str(caught.value)
    assert bool(caught.value.hint) == (value != "three")


def test_labels_that_only_begin_like_numbers_are_in_alphabetic_order():
    assert in_label_order(["2", "--1"]) == ["--1", "2"]
    assert in_label_order(["10", "-1", "2"]) == ["-1", "2", "10"]
    assert in_label_order(["-", "2"]) == ["-", "2"]
