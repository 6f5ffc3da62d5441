"""Objects in memory as sources: DataFrames, data sets, lists, columns; one name for the same rows everywhere."""

import datetime
import gc
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tunesmith.data.examples import read_examples
from tunesmith.data.formats.memory import hold, is_held
from tunesmith.data.invalid_rows import refuse_invalid_rows
from tunesmith.data.preparing import find_splits
from tunesmith.data.reading import fingerprint_of, is_in_memory, read_rows, source_files, source_name
from tunesmith.errors import DataError
from tunesmith.recipe import DataRecipe, Recipe
from tunesmith.tasks import TASKS

pytestmark = pytest.mark.usefixtures("lean")

ROWS = [
    {"text": "a cat", "label": "animal"},
    {"text": "red", "label": "colour"},
    {"text": "a dog", "label": "animal"},
]
COLUMNS = {name: [row[name] for row in ROWS] for name in ("text", "label")}


def values(held):
    return [row.values for _, row in read_rows(held.source)]


def a_data_set():
    features = datasets.Features({
        "text": datasets.Value("string"), "label": datasets.ClassLabel(names=["animal", "colour"]),
    })  # fmt: skip
    return datasets.Dataset.from_dict({"text": COLUMNS["text"], "label": [0, 1, 0]}, features=features)


HELD = {
    "DataFrame": lambda: hold(pd.DataFrame(ROWS, index=[7, 3, 9])),
    "categories": lambda: hold(pd.DataFrame({**COLUMNS, "label": pd.Categorical(COLUMNS["label"])})),
    "list": lambda: hold(ROWS),
    "columns": lambda: hold(COLUMNS),
    "arrays": lambda: hold({name: np.array(column) for name, column in COLUMNS.items()}),
    "tuple": lambda: hold((COLUMNS["text"], COLUMNS["label"])),
    "labels": lambda: hold(pd.Series(COLUMNS["text"]), labels=np.array(COLUMNS["label"])),
    "Dataset": lambda: hold(a_data_set()),
    "formatted": lambda: hold(a_data_set().with_format("numpy")),
    "selected": lambda: hold(datasets.concatenate_datasets([a_data_set(), a_data_set()]).select([0, 1, 5])),
    "Table": lambda: hold(pa.table(COLUMNS)),
}


@pytest.mark.parametrize("kind", HELD)
def test_the_same_rows_have_one_name_whatever_holds_them(kind):
    held = HELD[kind]()
    assert values(held) == ROWS
    assert [row.line for _, row in read_rows(held.source)] == [0, 1, 2]
    assert held.source == hold(ROWS).source
    assert is_in_memory(held.source)
    assert source_files(held.source) == []


def test_other_rows_have_another_name_and_fingerprint():
    one, other = hold(ROWS), hold(ROWS[:2])
    assert one.source != other.source
    assert fingerprint_of(one.source) != fingerprint_of(other.source)


def test_a_name_is_the_same_in_another_process():
    code = (
        "from tunesmith.data.formats.memory import hold\nimport pandas\n"
        f"print(hold(pandas.DataFrame({ROWS!r})).source)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hold(ROWS).source


def test_values_become_plain():
    frame = pd.DataFrame({
        "number": [np.float32(1.5), np.nan], "whole": pd.array([1, pd.NA], dtype="Int64"), "text": ["a", None],
        "yes": [True, False], "day": [pd.Timestamp("2024-05-01"), pd.NaT],
        "list": [np.array([1, 2]), {"in": (np.int8(3), float("nan"))}],
        "date": [datetime.date(2024, 5, 1), None],
    })  # fmt: skip
    first, second = values(hold(frame))
    assert first == {
        "number": 1.5, "whole": 1, "text": "a", "day": "2024-05-01 00:00:00", "list": [1, 2], "yes": True,
        "date": "2024-05-01",
    }  # fmt: skip
    assert second == {
        "number": None, "whole": None, "text": None, "day": None, "list": {"in": [3, None]}, "yes": False,
        "date": None,
    }  # fmt: skip
    assert {type(value) for value in first.values()} == {float, int, str, list, bool}


def test_an_object_of_another_type_stays_and_does_not_change_the_name():
    """Its text may hold an address of the memory, which differs each time."""

    class Picture:
        pass

    one, other = ({"text": "a", "picture": Picture()} for _ in range(2))
    assert hold([one]).source == hold([other]).source
    assert isinstance(values(hold([one]))[0]["picture"], Picture)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (3, "got `int`"),
        ("I liked this film", "got the text `I liked this film`"),
        ("x" * 5000, f"`{'x' * 60}…`"),
        ([], "got an empty list"),
        ([1, 2], "got `list` of `int`"),
        ({"text": ["a", "b"], "label": ["x"]}, "`text` has 2, `label` has 1"),
        ((["a", "b"], ["x"]), "`text` has 2, `label` has 1"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "`a` occurs twice"),
        (np.zeros((2, 2)), "got `ndarray`"),
    ],
)
def test_what_holds_no_rows_is_named_without_its_content(data, said):
    with pytest.raises(DataError) as error:
        values(hold(data))
    assert said in str(error.value)
    assert len(str(error.value)) < 400


def test_labels_that_are_no_column_are_named():
    with pytest.raises(DataError, match="labels must be a list, an array or a Series, got the text `intent`"):
        hold(["a", "b"], labels="intent")
    with pytest.raises(DataError, match="texts must be a list, an array or a Series, got `DataFrame`"):
        hold(pd.DataFrame(ROWS), labels=["x", "y", "z"])


def test_a_wrong_row_is_named_by_its_position():
    frame = pd.DataFrame([*ROWS * 6, {"text": None, "label": "animal"}])
    held = hold(frame, "train")
    reading = read_examples(TASKS.get("text-classification"), [held.source])
    with pytest.raises(DataError, match="train DataFrame, row 18: no text"):
        refuse_invalid_rows(reading.invalid_rows, 18, remedy="Fix it.")
    assert pd.isna(frame.iloc[18]["text"])


def test_splits_of_a_dictionary_are_used_unless_others_are_given():
    data = datasets.DatasetDict(
        train=a_data_set(), validation=a_data_set().select([0, 1]), test=a_data_set().select([0])
    )
    held = hold(data, "train")
    found = find_splits(Recipe(data=DataRecipe(train=[held.source]))).data
    assert [len(list(read_rows(sources[0]))) for sources in (found.train, found.validation, found.test)] == [
        3,
        2,
        1,
    ]
    assert source_name(found.test[0]) == "test Dataset"
    given = find_splits(Recipe(data=DataRecipe(train=[held.source], test=["mine.csv"]))).data
    assert given.test == ["mine.csv"]
    with pytest.raises(DataError, match=r"DatasetDict holds 3 tables\.") as error:
        values(held)
    assert "`data['train']`" in str(error.value)


def test_tables_by_name_are_splits_too():
    held = hold({"train": pd.DataFrame(ROWS), "dev": pd.DataFrame(ROWS[:1])})
    found = find_splits(Recipe(data=DataRecipe(train=[held.source]))).data
    assert [len(list(read_rows(sources[0]))) for sources in (found.train, found.validation)] == [3, 1]


def test_an_object_is_held_as_long_as_its_holder():
    held = hold([{"text": "only here"}])
    source = held.source
    assert is_held(source)
    del held
    gc.collect()
    with pytest.raises(DataError, match="was an object in the memory of a program") as error:
        fingerprint_of(source)
    assert "tunesmith.train(data, recipe=…)" in str(error.value)
    assert source_name(source) == source


def test_rows_that_changed_since_they_were_held_are_not_taken_for_the_same():
    frame = pd.DataFrame(ROWS)
    held = hold(frame)
    before = fingerprint_of(held.source)
    frame.loc[0, "text"] = "something else"
    assert fingerprint_of(held.source) != before
    again = hold(ROWS)
    assert again.source == held.source
    assert values(again) == ROWS


def test_no_library_is_imported_for_it():
    code = (
        "import sys\nfrom tunesmith.data.formats.memory import hold\n"
        "from tunesmith.data.reading import read_rows\n"
        "held = hold([{'text': 'a'}]); list(read_rows(held.source))\n"
        "print([name for name in ('pandas', 'datasets', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout.strip() == "[]"
