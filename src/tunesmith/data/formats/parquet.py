"""Parquet, read a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunesmith.data.formats import FileFormat, Row
from tunesmith.data.formats._files import DataFile
from tunesmith.data.formats.arrow import batch_rows

_BATCH_ROWS = 4096


def _batches(handle: Any) -> Iterator[Any]:
    import pyarrow.parquet as pq

    batches: Iterator[Any] = pq.ParquetFile(handle).iter_batches(batch_size=_BATCH_ROWS)
    return batches


def _rows(file: DataFile) -> Iterator[Row]:
    return batch_rows(file, _batches)


format = FileFormat("columns, as Parquet", (".parquet",), _rows)
