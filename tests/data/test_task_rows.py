"""Rows are written with the task's own columns, and read back as the same examples."""

import json

import numpy as np
import pytest

from tunesmith.data.examples import read_examples
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.task_rows import ORIGIN, TakenRows, own_columns, write_task_rows
from tunesmith.errors import DataError
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import tiny_rows, write_rows
from tunesmith.testing.tiny_tasks import TINY_TASKS

WITH_METADATA = ReadOptions(with_metadata=True)


def as_lists(columns):
    return json.loads(json.dumps({name: list(values) for name, values in columns.items()}, default=list))


def taken(task, path, options=WITH_METADATA, rows=None):
    examples = read_examples(task, [str(path)], options).examples
    rows = np.arange(len(examples)) if rows is None else np.array(rows)
    return TakenRows([str(path)], options, examples, rows)


def rows_of(name):
    """Rows of a task's tiny data."""
    rng = np.random.default_rng(0)
    return [TINY_TASKS.get(name).make(rng) for _ in range(12)]


@pytest.mark.parametrize("name", TASKS.names())
def test_every_task_reads_its_rows_back(name, tmp_path):
    task, rows = TASKS.get(name), [2, 3, 5, 8]
    part = taken(task, write_rows(tmp_path / "a.jsonl", rows_of(name)), rows=rows)
    written = tmp_path / "written.jsonl"
    assert write_task_rows(written, task, [part]) == 4
    again = read_examples(task, [str(written)], ReadOptions(own_columns(task, [written]), with_metadata=True))
    assert not again.invalid_rows
    assert as_lists(again.examples.columns) == as_lists(part.examples.take(part.rows).columns)
    assert list(again.examples.extra[ORIGIN]) == [f"a.jsonl:{row + 1}" for row in rows]


def test_other_names_and_other_columns_become_one_file(tmp_path):
    task = TASKS.get("text-classification")
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    one.write_text("review,stars,product\n" + "".join(f"the cat {i},{i % 2},p{i % 3}\n" for i in range(8)))
    other.write_text("text,label,day\n" + "".join(f"the dog {i},{i % 2},{i}\n" for i in range(6)))
    options = ReadOptions({"text": "review", "label": "stars"}, with_metadata=True)
    parts = [taken(task, one, options), taken(task, other, rows=[1, 4])]
    written = tmp_path / "both.jsonl"
    assert write_task_rows(written, task, parts) == 10
    lines = [json.loads(line) for line in written.read_text().splitlines()]
    assert lines[0] == {"text": "the cat 0", "label": "0", "product": "p0", ORIGIN: "one.csv:2"}
    assert lines[-1] == {"text": "the dog 4", "label": "0", "day": "4", ORIGIN: "other.csv:6"}
    assert own_columns(task, [written]) == {"text": "text", "label": "label"}


def test_an_origin_stays_through_a_second_merge(tmp_path):
    task = TASKS.get("text-classification")
    first = tmp_path / "first.jsonl"
    write_task_rows(first, task, [taken(task, write_rows(tmp_path / "a.csv", tiny_rows(9)), rows=[4, 6])])
    second = tmp_path / "second.jsonl"
    write_task_rows(second, task, [taken(task, first)])
    assert [json.loads(line)[ORIGIN] for line in second.read_text().splitlines()] == ["a.csv:6", "a.csv:8"]


def test_a_source_that_changes_in_between_is_noticed(tmp_path):
    task = TASKS.get("text-classification")
    path = write_rows(tmp_path / "a.csv", tiny_rows(9))
    part = taken(task, path)
    write_rows(path, tiny_rows(4))
    with pytest.raises(DataError, match="9 rows were read, and 4 of them are still there"):
        write_task_rows(tmp_path / "b.jsonl", task, [part])
