import pyarrow as pa
import pytest

from tunesmith.data.reading import read_rows
from tunesmith.errors import DataError

ROWS = [{"text": "a", "tags": ["O", "B-X"]}, {"text": None, "tags": []}]


def rows(path):
    return [row for _, row in read_rows(str(path))]


@pytest.mark.parametrize("writer", [pa.ipc.new_stream, pa.ipc.new_file])
def test_files_and_streams(tmp_path, writer):
    table = pa.Table.from_pylist(ROWS)
    with writer(tmp_path / "s.arrow", table.schema) as sink:
        sink.write_table(table)
    assert [row.values for row in rows(tmp_path / "s.arrow")] == ROWS
    assert [row.location("s.arrow") for row in rows(tmp_path / "s.arrow")] == [
        "s.arrow, row 1",
        "s.arrow, row 2",
    ]


def test_what_is_no_arrow(tmp_path):
    (tmp_path / "a.feather").write_bytes(b"no arrow at all")
    with pytest.raises(DataError, match="not of the format that its ending says"):
        rows(tmp_path / "a.feather")


def test_damaged_offsets_of_texts_are_refused(tmp_path):
    offsets = pa.array([0, 9, 3], type=pa.int32()).buffers()[1]
    texts = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"good evil"))
    batch = pa.record_batch([texts], names=["text"])
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)
    with pytest.raises(DataError, match=r"a\.arrow` is not of the format that its ending says: .*[Oo]ffset"):
        rows(tmp_path / "a.arrow")
