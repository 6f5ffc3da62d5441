"""A pool of rows: what is left out, and that the draw depends on the texts alone."""

import pytest

from tunesmith.data.read_options import PLAIN_READING
from tunesmith.errors import DataError
from tunesmith.inference.pool import NOT_DRAWN, read_pool
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import write_rows

TASK = TASKS.get("text-classification")
ROWS = [{"text": f"text number {n}"} for n in range(80)]


def pool_of(path, rows, **how):
    source = str(write_rows(path, rows))
    return read_pool(
        TASK, ("text",), [source], PLAIN_READING, lambda view: {"label": "label"}, **{"seed": 0, **how}
    )


def texts(pool):
    return {row.inputs["text"] for row in pool.rows}


def test_a_draw_is_that_of_the_texts_and_the_seed(tmp_path):
    drawn = pool_of(tmp_path / "a.csv", ROWS, most=20)
    assert len(drawn.rows) == 20
    assert drawn.left_out == {NOT_DRAWN: 60}
    assert texts(drawn) == texts(pool_of(tmp_path / "b.csv", ROWS[::-1], most=20))
    assert texts(drawn) != texts(pool_of(tmp_path / "c.csv", ROWS, most=20, seed=1))
    assert [row.number for row in drawn.rows] == sorted(row.number for row in drawn.rows)


def test_files_of_a_pool_have_the_same_columns(tmp_path):
    one = write_rows(tmp_path / "one.csv", ROWS[:3])
    other = write_rows(tmp_path / "other.csv", [{"review": "another text of four words", "id": "1"}] * 3)
    with pytest.raises(DataError, match="the files of a pool must have the same columns"):
        read_pool(TASK, ("text",), [str(one), str(other)], PLAIN_READING, lambda view: {}, seed=0)
