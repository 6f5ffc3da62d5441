"""Arrow files and streams, including Feather, read one batch at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING

from tunesmith.data.formats import FileFormat, Row
from tunesmith.data.formats._features import row_converter
from tunesmith.data.formats._files import DataFile
from tunesmith.data.formats._packing import most_bytes, too_large
from tunesmith.errors import DataError
from tunesmith.memory_limit import limited_memory

if TYPE_CHECKING:
    import pyarrow as pa

    from tunesmith.types import JsonObject

_SLICE_ROWS = 1024
_SLACK_BYTES = 2**29
"""Of addresses, which allocators reserve before they give out memory."""
_FILE_MAGIC, _CONTINUATION = b"ARROW1", b"\xff\xff\xff\xff"
_END_OF_STREAM = _CONTINUATION + bytes(4)

Batches = Callable[[IO[bytes]], Iterator["pa.RecordBatch"]]
"""From an open file to the batches of its rows."""


class _Cap:
    """What a file may hold: zeros are compressed to nothing, and all rows can have one long value of a dictionary.

    Args:
        size: bytes of the file.
        name: name of the file in messages.
    """

    def __init__(self, size: int, name: str) -> None:
        self._most, self._name = most_bytes(size), name
        self._n_bytes = self._n_characters = 0

    @contextlib.contextmanager
    def taking(self) -> Iterator[None]:
        """A context that takes no more memory than the whole file may hold."""
        try:
            with limited_memory(self._most + _SLACK_BYTES):
                yield
        except MemoryError:
            raise too_large(self._name) from None

    def next_batch(self, reading: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        """The next batch; None at the end."""
        with self.taking():
            batch = next(reading, None)
        self._n_bytes += batch.nbytes if batch is not None else 0
        self._refuse_more(self._n_bytes)
        return batch

    def values_of(self, batch: pa.RecordBatch) -> Iterator[JsonObject]:
        """The rows of a batch."""
        for start in range(0, batch.num_rows, _SLICE_ROWS):
            with self.taking():
                rows = batch.slice(start, _SLICE_ROWS).to_pylist()
            self._n_characters += sum(
                len(v) for values in rows for v in values.values() if isinstance(v, str | bytes)
            )
            self._refuse_more(self._n_characters)
            yield from rows

    def _refuse_more(self, held: int) -> None:
        if held > self._most:
            raise too_large(self._name)


def batch_rows(file: DataFile, batches: Batches) -> Iterator[Row]:
    """The rows of Arrow batches, with names of class labels, and without the nulls that fill structs.

    Args:
        file: file to open.
        batches: function from the open handle to the batches of the file.
    """
    import pyarrow as pa

    number = 0
    with file.open_seekable() as handle:
        cap = _Cap(handle.seek(0, 2), file.name)
        handle.seek(0)
        try:
            with cap.taking():
                reading = batches(handle)
            convert: Callable[[JsonObject], JsonObject] | None = None
            while (batch := cap.next_batch(reading)) is not None:
                batch.validate(full=True)  # a damaged text would end in an error of the interpreter
                convert = convert or row_converter(batch.schema)
                for values in cap.values_of(batch):
                    number += 1
                    yield Row(number, convert(values), unit="row")
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"`{file.name}` is not of the format that its ending says: {error}.", remedy="Fix the file."
            ) from None


def _rows(file: DataFile) -> Iterator[Row]:
    def batches(handle: IO[bytes]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        options = pa.ipc.IpcReadOptions(use_threads=False)  # which would reserve addresses of their own
        try:
            reader = pa.ipc.open_file(handle, options=options)
        except pa.ArrowInvalid:
            _notice_missing_end(file, handle)
            _refuse_length(handle)
            return iter(pa.ipc.open_stream(handle, options=options))
        return (reader.get_batch(i) for i in range(reader.num_record_batches))

    return batch_rows(file, batches)


def _notice_missing_end(file: DataFile, handle: IO[bytes]) -> None:
    """Adds a notice for a stream without an end mark: it may be whole, or cut between two batches."""
    size = handle.seek(0, 2)
    handle.seek(max(0, size - len(_END_OF_STREAM)))
    if handle.read() != _END_OF_STREAM:
        file.notice(f"the Arrow stream `{file.name}` has no mark at its end: rows may be missing there")
    handle.seek(0)


def _refuse_length(handle: IO[bytes]) -> None:
    """Raises ArrowInvalid where the first message of a stream is longer than the file: memory is taken for it."""
    import pyarrow as pa

    size = handle.seek(0, 2)
    handle.seek(0)
    length = int.from_bytes(handle.read(8).removeprefix(_CONTINUATION)[:4], "little")
    handle.seek(0)
    if length > size:
        raise pa.ArrowInvalid(f"its first message has {length:,} bytes, and the file has {size:,}")


def _recognises(head: bytes) -> bool:
    return head.startswith((_FILE_MAGIC, _CONTINUATION))


format = FileFormat("columns, as Arrow files or streams", (".arrow", ".feather"), _rows, _recognises)
