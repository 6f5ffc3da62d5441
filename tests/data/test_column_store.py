import datetime
import gc
import os
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data import column_store
from tunesmith.data.column_store import CategoryWriter, Column, ColumnWriter

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def on_disk(monkeypatch):
    """Every column goes to a file at once, in small pieces."""
    monkeypatch.setattr(column_store, "_MOST_BYTES_IN_MEMORY", 8)
    monkeypatch.setattr(column_store, "_BUFFER_BYTES", 16)
    monkeypatch.setattr(column_store, "_BLOCK_ROWS", 5)


def types(value):
    if isinstance(value, (list, tuple)):
        return type(value), [types(item) for item in value]
    return type(value), [(key, types(item)) for key, item in value.items()] if isinstance(value, dict) else []


@settings(max_examples=200, deadline=None)
@given(st.lists(JSON, max_size=30), st.booleans())
def test_what_comes_out_is_what_went_in(values, large):
    with pytest.MonkeyPatch.context() as patch:
        if large:
            patch.setattr(column_store, "_MOST_BYTES_IN_MEMORY", 8)
            patch.setattr(column_store, "_BUFFER_BYTES", 16)
        column = Column.of(values)
        assert list(column) == values == column
        assert [types(value) for value in column] == [types(value) for value in values]
        assert [column[i] for i in range(len(values))] == values
        assert [column[i] for i in range(-len(values), 0)] == values


@pytest.mark.usefixtures("on_disk")
def test_parts_and_other_orders():
    texts = [f"text {i} é" * (i % 7) for i in range(200)]
    column = Column.of(texts)
    assert column[3:150:7] == texts[3:150:7]
    assert column[:0] == []
    order = np.random.default_rng(0).permutation(200)
    taken = column.take(order)
    assert list(taken) == [texts[i] for i in order]
    assert list(taken.take(np.arange(0, 200, 3))) == [texts[i] for i in order[::3]]
    assert len(taken) == 200
    with pytest.raises(IndexError):
        taken[200]


@pytest.mark.usefixtures("on_disk")
def test_what_json_does_not_give_back_stays_as_it_is():
    nan = float("nan")
    values = [
        (1, "a"),
        [(1, 2)],
        {1: 2},
        datetime.date(2026, 1, 2),
        Decimal("1.5"),
        b"bytes",
        nan,
        "\ud800",
        1,
        True,
        1.0,
    ]
    column = Column.of(values)
    assert column[6] is nan
    assert [v for i, v in enumerate(column) if i != 6] == [v for i, v in enumerate(values) if i != 6]
    assert [type(value) for value in column] == [type(value) for value in values]


def test_equality_looks_at_values_and_length():
    column = Column.of(["a", "b"])
    assert column == ["a", "b"]
    assert column != ["a"]
    assert column != ["a", "c"]
    assert column != "ab"
    assert repr(column) == "Column(['a', 'b'], 2 rows)"


def test_categories_are_kept_once():
    writer = CategoryWriter()
    labels = ["good", "bad", None, "good", 1, "1"]
    for label in labels:
        writer.append(label)
    column = writer.finish()
    assert list(column) == ["good", "bad", None, "good", 1, 1]
    assert column[0] is column[3]
    assert column.take(np.array([2, 1])) == [None, "bad"]


def test_large_columns_lie_in_the_cache_folder_and_leave_nothing_there(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    writer = ColumnWriter()
    text = "x" * 1_000_000
    for _ in range(20):
        writer.append(text)
    column = writer.finish()
    assert list(tmp_path.rglob("*")) == [tmp_path / "cache"]
    open_files = [
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.islink(f"/proc/self/fd/{fd}")
    ]
    assert any(str(tmp_path / "cache") in name for name in open_files)
    assert column[19] == text
    del column, writer
    gc.collect()


@pytest.mark.usefixtures("on_disk")
def test_a_file_that_was_cut_is_an_error_not_another_text():
    writer = ColumnWriter()
    for i in range(9):
        writer.append(f"a text of more than eight bytes {i}")
    column = writer.finish()
    writer._bytes._file.truncate(20)
    with pytest.raises(OSError, match="the file of a column ends at byte"):
        column[8]


def test_a_folder_that_cannot_be_written_to_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(column_store, "_MOST_BYTES_IN_MEMORY", 8)
    assert Column.of(["a long enough text", "another"]) == ["a long enough text", "another"]
