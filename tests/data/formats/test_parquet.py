import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.data.reading import read_rows
from tunesmith.errors import DataError


def rows(path):
    return [row for _, row in read_rows(str(path))]


def test_rows_are_numbered_through_the_batches(tmp_path):
    table = pa.table({"n": range(10_000)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3000)
    found = rows(tmp_path / "a.parquet")
    assert [row.values["n"] for row in found] == list(range(10_000))
    assert [row.line for row in found] == list(range(1, 10_001))
    assert {row.unit for row in found} == {"row"}


@pytest.mark.parametrize("content", [b"PAR0 no parquet", b"PAR1 cut off PAR1"])
def test_what_is_no_parquet(tmp_path, content):
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match="not of the format that its ending says"):
        rows(tmp_path / "a.parquet")
