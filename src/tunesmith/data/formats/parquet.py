"""Parquet, read one batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from tunesmith.data.formats import FileFormat, Row
from tunesmith.data.formats._files import DataFile
from tunesmith.data.formats.arrow import batch_rows

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 1024


def _batches(handle: IO[bytes]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(handle, page_checksum_verification=True)
    n_rows = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
        n_rows += batch.num_rows
        yield batch
    if n_rows != file.metadata.num_rows:
        raise pa.ArrowInvalid(f"it holds {n_rows} rows, and its end says {file.metadata.num_rows}")


def _rows(file: DataFile) -> Iterator[Row]:
    return batch_rows(file, _batches)


format = FileFormat("columns, as Parquet", (".parquet",), _rows, lambda head: head.startswith(b"PAR1"))
