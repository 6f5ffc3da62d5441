"""The values of one column: few values are kept in memory, many values in a file of bytes.

A million texts as Python strings take 150 MB and more for the whole run, though each is used once or twice. Here
they are UTF-8, one after the other, with an offset for each. Above 16 MiB they lie in an unnamed file, which the
system removes with the process. The file is read, not mapped: the system may keep or drop what was read, and it
does not count as memory of the process. Texts are stored as they are. Lists, numbers and conversations are stored
as JSON, if JSON gives back exactly the same value. Other values (a date, for example) stay objects in memory. A
column behaves like a list: it is indexed, sliced, iterated and compared like one.
"""

from __future__ import annotations

import json
import os
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from tunesmith.cache import cache_folder

_BLOCK_ROWS = 4096
_BUFFER_BYTES = 2**20
_MOST_BYTES_IN_MEMORY = 16 * 2**20
_GAP = 4  # reading up to this many times the wanted bytes is cheaper than many small reads
_TEXT, _JSON, _OBJECT = b"t", b"j", b"o"


class _Store(Protocol):
    """Distinct values by number."""

    def read(self, numbers: NDArray[np.integer]) -> list[object]: ...


class Column(Sequence[Any]):
    """The values of a column, row by row.

    Args:
        store: store of the values.
        rows: [rows], number of each row's value in the store.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, store: _Store, rows: NDArray[np.integer]) -> None:
        self._store, self._rows = store, rows

    @classmethod
    def of(cls, values: Iterable[object]) -> Column:
        """A column of the values."""
        writer = ColumnWriter()
        for value in values:
            writer.append(value)
        return writer.finish()

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, row: int) -> Any: ...

    @overload
    def __getitem__(self, row: slice) -> list[Any]: ...

    def __getitem__(self, row: int | slice) -> object:
        if isinstance(row, slice):
            return self._store.read(self._rows[row])
        return self._store.read(self._rows[row : row + 1 or None])[0]

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), _BLOCK_ROWS):
            yield from self[start : start + _BLOCK_ROWS]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (list, Column)):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3]))
        return f"Column([{shown}{', …' if len(self) > 3 else ''}], {len(self)} rows)"

    def take(self, rows: NDArray[np.int64]) -> Column:
        """The given rows, in the given order; the values are not copied."""
        return Column(self._store, self._rows[rows])


class ColumnWriter:
    """Collects the values of a column, in the order of the rows."""

    def __init__(self) -> None:
        self._bytes = _Bytes()
        self._objects: list[object] = []
        self._offsets = array("q", [0])

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def append(self, value: object) -> None:
        """Adds one row's value."""
        data = _packed(value)
        if data is None:
            data = _OBJECT + str(len(self._objects)).encode()
            self._objects.append(value)
        self._bytes.append(data)
        self._offsets.append(self._offsets[-1] + len(data))

    def finish(self) -> Column:
        """The finished column."""
        offsets = np.frombuffer(self._offsets, dtype=np.int64)
        return Column(_Flat(self._bytes, offsets, self._objects), np.arange(len(self)))


class CategoryWriter:
    """Collects the values of a column with repeated values: a million labels of two names are two strings."""

    def __init__(self) -> None:
        self._numbers: dict[str | None, int] = {}
        self._values: list[object] = []
        self._rows = array("i")

    def append(self, value: object) -> None:
        """Adds one row's value."""
        key = None if value is None else str(value)
        number = self._numbers.setdefault(key, len(self._values))
        if number == len(self._values):
            self._values.append(value)
        self._rows.append(number)

    def finish(self) -> Column:
        """The finished column."""
        return Column(_Few(self._values), np.frombuffer(self._rows, dtype=np.int32))


class _Few:
    """Values in a list."""

    def __init__(self, values: list[object]) -> None:
        self._values = values

    def read(self, numbers: NDArray[np.integer]) -> list[object]:
        return [self._values[number] for number in numbers.tolist()]


class _Flat:
    """Values as bytes, one after the other.

    Args:
        data: bytes of the values.
        offsets: [values + 1], start of each value.
        objects: values that cannot be stored as bytes.
    """

    def __init__(self, data: _Bytes, offsets: NDArray[np.int64], objects: list[object]) -> None:
        self._data, self._offsets, self._objects = data, offsets, objects

    def read(self, numbers: NDArray[np.integer]) -> list[object]:
        if not len(numbers):
            return []
        starts, ends = self._offsets[numbers], self._offsets[numbers + 1]
        first, last = int(starts.min()), int(ends.max())
        if last - first > _GAP * int((ends - starts).sum()) + _BUFFER_BYTES:
            if len(numbers) == 1:
                return [self._value(self._data.read(first, last))]
            half = len(numbers) // 2  # until the values of one read lie close together
            return self.read(numbers[:half]) + self.read(numbers[half:])
        block = self._data.read(first, last)
        bounds = zip((starts - first).tolist(), (ends - first).tolist(), strict=True)
        return [self._value(block[start:end]) for start, end in bounds]

    def _value(self, data: bytes) -> object:
        kind, text = data[:1], data[1:].decode("utf-8", "surrogatepass")
        if kind == _TEXT:
            return text
        return self._objects[int(text)] if kind == _OBJECT else json.loads(text)


class _Bytes:
    """Bytes that grow at their end: in memory, and above a size in an unnamed file."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._file: IO[bytes] | None = None
        self._flushed = 0

    def append(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > (_MOST_BYTES_IN_MEMORY if self._file is None else _BUFFER_BYTES):
            self._flush()

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`."""
        if self._file is None or start >= self._flushed:
            return bytes(self._buffer[start - self._flushed : end - self._flushed])
        stored = os.pread(self._file.fileno(), min(end, self._flushed) - start, start)
        if len(stored) < min(end, self._flushed) - start:
            raise OSError(f"the file of a column ends at byte {start + len(stored)} of {self._flushed}")
        return stored + bytes(self._buffer[: max(0, end - self._flushed)])

    def _flush(self) -> None:
        if self._file is None:
            self._file = _nameless_file()
            weakref.finalize(self, self._file.close)
        self._file.write(self._buffer)
        self._file.flush()
        self._flushed += len(self._buffer)
        self._buffer = bytearray()


def _nameless_file() -> IO[bytes]:
    """An unnamed file in the cache folder, on a disk; the usual folder for temporary files may be in memory."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder)
    except OSError:  # a home that cannot be written to
        return tempfile.TemporaryFile()


def _packed(value: object) -> bytes | None:
    """A letter for the kind, and the value's bytes; None if bytes would not give the same value back."""
    if type(value) is str:
        return _TEXT + value.encode("utf-8", "surrogatepass")
    try:
        text = json.dumps(value, ensure_ascii=False)
        is_same = bool(json.loads(text) == value)
    except (TypeError, ValueError, RecursionError):
        return None
    return _JSON + text.encode("utf-8", "surrogatepass") if is_same else None
