import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.data.preparing import find_splits
from tunesmith.data.reading import fingerprint_of, read_rows, source_files
from tunesmith.errors import DataError
from tunesmith.recipe import DataRecipe, Recipe

NAMES = datasets.ClassLabel(names=["noise", "waste"])
TAGS = datasets.ClassLabel(names=["O", "B-PLACE"])
FEATURES = datasets.Features({"text": datasets.Value("string"), "label": NAMES, "tags": datasets.List(TAGS)})
EXPECTED = [
    {"text": "a", "label": "noise", "tags": ["O", "B-PLACE"]},
    {"text": "b", "label": "waste", "tags": []},
    {"text": "c", "label": None, "tags": None},
]


@pytest.fixture(scope="module")
def data():
    columns = {"text": ["a", "b", "c"], "label": [0, 1, -1], "tags": [[0, 1], [], None]}
    return datasets.Dataset.from_dict(columns, features=FEATURES)


def values(source):
    return [row.values for _, row in read_rows(str(source))]


def test_a_saved_data_set_is_read_shard_by_shard(data, tmp_path):
    data.save_to_disk(tmp_path / "one", num_shards=2)
    found = list(read_rows(str(tmp_path / "one")))
    assert [row.values for _, row in found] == EXPECTED
    assert [row.line for _, row in found] == [1, 2, 1]
    assert len(source_files(str(tmp_path / "one"))) == 2
    assert fingerprint_of(str(tmp_path / "one"))


def test_a_saved_dictionary_of_data_sets_stands_for_its_splits(data, tmp_path):
    datasets.DatasetDict(train=data, test=data.select([0])).save_to_disk(tmp_path / "two")
    recipe = find_splits(Recipe(data=DataRecipe(train=[str(tmp_path / "two")]))).data
    assert (recipe.train, recipe.test) == (
        [str(tmp_path / "two" / "train")],
        [str(tmp_path / "two" / "test")],
    )
    assert values(recipe.test[0]) == EXPECTED[:1]
    with pytest.raises(DataError, match="holds 2 data sets"):
        values(tmp_path / "two")


def test_names_of_labels_are_in_parquet_too(data, tmp_path):
    data.to_parquet(tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == EXPECTED


def test_a_missing_shard_and_a_cut_stream_are_named(data, tmp_path):
    data.save_to_disk(tmp_path / "one", num_shards=2)
    last = sorted((tmp_path / "one").glob("*.arrow"))[-1]
    last.write_bytes(last.read_bytes()[:-8])
    notices = []
    assert len(list(read_rows(str(tmp_path / "one"), notices))) == 3
    assert "has no mark at its end" in notices[0]
    last.unlink()
    with pytest.raises(DataError, match="no such file"):
        values(tmp_path / "one")


CALLS = [
    [{"name": "fee", "arguments": {"kind": "permit", "months": 1}}],
    [{"name": "hours", "arguments": {"place": "library"}}],
]


def test_fields_that_arrow_filled_with_null_are_left_out_and_those_of_json_are_not(tmp_path):
    rows = [{"calls": calls, "note": None} for calls in CALLS]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == rows
    (tmp_path / "a.json").write_text('[{"calls": [{"name": "hours", "arguments": {"place": null}}]}]')
    assert values(tmp_path / "a.json")[0]["calls"][0]["arguments"] == {"place": None}


def test_nulls_in_lists_stay(tmp_path):
    rows = [{"scores": [1, None, 2], "pairs": [{"a": [None, 1]}, None]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == rows


@pytest.mark.parametrize("way", ["../other/", "", "inside/", "link"])
def test_a_file_of_another_folder_is_refused(data, tmp_path, way):
    for name in ("one", "other"):
        data.save_to_disk(tmp_path / name)
    (tmp_path / "one" / "inside").symlink_to(tmp_path / "other")
    state = json.loads((tmp_path / "one" / "state.json").read_text())
    name = state["_data_files"][0]["filename"]
    if way == "link":
        (tmp_path / "one" / name).unlink()
        (tmp_path / "one" / name).symlink_to(tmp_path / "other" / name)
    else:
        state["_data_files"][0]["filename"] = f"{way or tmp_path / 'other'}/{name}"
    (tmp_path / "one" / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match="must hold its files itself"):
        values(tmp_path / "one")
