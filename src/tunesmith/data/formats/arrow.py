"""Arrow files and streams, including Feather, read one batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING

from tunesmith.data.formats import FileFormat, Row
from tunesmith.data.formats._features import row_converter
from tunesmith.data.formats._files import DataFile
from tunesmith.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from tunesmith.types import JsonObject

_FILE_MAGIC, _CONTINUATION = b"ARROW1", b"\xff\xff\xff\xff"
_END_OF_STREAM = _CONTINUATION + bytes(4)

Batches = Callable[[IO[bytes]], Iterator["pa.RecordBatch"]]
"""From an open file to the batches of its rows."""


def batch_rows(file: DataFile, batches: Batches) -> Iterator[Row]:
    """The rows of Arrow batches, with names of class labels, and without the nulls that fill structs.

    Args:
        file: file to open.
        batches: function from the open handle to the batches of the file.
    """
    import pyarrow as pa

    number = 0
    with file.open_seekable() as handle:
        try:
            convert: Callable[[JsonObject], JsonObject] | None = None
            for batch in batches(handle):
                batch.validate(full=True)  # a damaged text would end in an error of the interpreter
                convert = convert or row_converter(batch.schema)
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, convert(values), unit="row")
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"`{file.name}` is not of the format that its ending says: {error}.", remedy="Fix the file."
            ) from None


def _rows(file: DataFile) -> Iterator[Row]:
    def batches(handle: IO[bytes]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        try:
            reader = pa.ipc.open_file(handle)
        except pa.ArrowInvalid:
            _notice_missing_end(file, handle)
            return iter(pa.ipc.open_stream(handle))
        return (reader.get_batch(i) for i in range(reader.num_record_batches))

    return batch_rows(file, batches)


def _notice_missing_end(file: DataFile, handle: IO[bytes]) -> None:
    """Adds a notice for a stream without an end mark: it may be whole, or cut between two batches."""
    size = handle.seek(0, 2)
    handle.seek(max(0, size - len(_END_OF_STREAM)))
    if handle.read() != _END_OF_STREAM:
        file.notice(f"the Arrow stream `{file.name}` has no mark at its end: rows may be missing there")
    handle.seek(0)


def _recognises(head: bytes) -> bool:
    return head.startswith((_FILE_MAGIC, _CONTINUATION))


format = FileFormat("columns, as Arrow files or streams", (".arrow", ".feather"), _rows, _recognises)
