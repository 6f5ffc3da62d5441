"""Files of vectors are written a chunk at a time, and types fit every row."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.data.vector_files import refuse_output, write_vectors
from tunesmith.errors import RecipeError

FIRST = [{"n": 1, "name": "a"}, {"n": 2, "name": None}]
SECOND = [{"n": 2.5, "name": "c", "late": [1]}]
CHUNKS = [(FIRST, np.ones((2, 3), np.float32)), (SECOND, np.zeros((1, 3), np.float32))]


def test_a_type_fits_later_rows_too(tmp_path):
    file = tmp_path / "out.parquet"
    write_vectors(file, iter(CHUNKS), lambda: [FIRST, SECOND])
    table = pq.read_table(file)
    assert table.column("n").to_pylist() == [1.0, 2.0, 2.5]
    assert table.column("late").to_pylist() == [None, None, [1]]
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 3)
    assert pq.ParquetFile(file).num_row_groups == 2


def test_nothing_is_left_of_a_file_that_failed(tmp_path):
    def broken():
        yield CHUNKS[0]
        raise KeyError("no more")

    for ending in ("parquet", "npy", "jsonl"):
        with pytest.raises(KeyError):
            write_vectors(tmp_path / f"out.{ending}", broken(), lambda: [FIRST])
    assert list(tmp_path.iterdir()) == []


def test_an_ending_that_is_unknown(tmp_path):
    with pytest.raises(RecipeError, match="must end in"):
        refuse_output(tmp_path / "out.csv", force=False)
