"""Arrow files and streams, Feather among them; read a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tunesmith.data.formats import FileFormat, Row
from tunesmith.data.formats._files import DataFile
from tunesmith.errors import DataError


def batch_rows(file: DataFile, batches: Callable[[Any], Iterator[Any]]) -> Iterator[Row]:
    """The rows of Arrow batches.

    Args:
        file: to open.
        batches: the file's batches, given its open handle.
    """
    import pyarrow as pa

    number = 0
    with file.open_seekable() as handle:
        try:
            for batch in batches(handle):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, values, unit="row")
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(
                f"`{file.name}` is not what its ending says: {error}.", remedy="Mend the file."
            ) from None


def _batches(handle: Any) -> Iterator[Any]:
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(handle)
    except pa.ArrowInvalid:
        handle.seek(0)
        return iter(pa.ipc.open_stream(handle))
    return (reader.get_batch(i) for i in range(reader.num_record_batches))


def _rows(file: DataFile) -> Iterator[Row]:
    return batch_rows(file, _batches)


format = FileFormat("columns, as Arrow files or streams", (".arrow", ".feather"), _rows)
