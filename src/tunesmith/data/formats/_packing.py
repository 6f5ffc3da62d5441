"""Compressed streams, recognised by the ending. Damage raises a DataError, wherever in a file it is found."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Any, Protocol, cast

from tunesmith.errors import DataError

_BUFFER_BYTES = 2**16
_MOST_RATIO = 200
"""Most bytes from one compressed byte, beyond the first 64 MiB: text has 3 to 20, a bomb 1,000 and more."""
_FREE_BYTES = 2**26


class Unpacking(Protocol):
    """A stream that unpacks while it is read."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


def unpack(packed: IO[bytes], packing: str, name: str) -> io.BufferedReader:
    """The bytes within a compressed file.

    Args:
        packed: compressed bytes; closed with the returned stream.
        packing: one of `PACKINGS`.
        name: name of the file in messages.
    """
    kind, opener = PACKINGS[packing]
    counted = Counted(packed)
    return guarded(opener(cast("IO[bytes]", counted)), counted, kind, name)


class Counted:
    """A stream that counts the bytes that are read from it."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed, self.count = packed, 0

    def read(self, size: int = -1, /) -> bytes:
        """Bytes of the stream."""
        data = self._packed.read(size)
        self.count += len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._packed, name)


def guarded(stream: Unpacking, packed: IO[bytes] | Counted, kind: str, name: str) -> io.BufferedReader:
    """An unpacking stream whose errors name the damaged file.

    Args:
        stream: stream of the unpacked bytes.
        packed: bytes that it reads; closed with the returned stream.
        kind: name of the packing in messages.
        name: name of the file in messages.
    """
    return io.BufferedReader(_Unpacked(stream, packed, kind, name), _BUFFER_BYTES)


def most_bytes(packed: int) -> int:
    """Most bytes that a file may hold.

    Args:
        packed: its compressed bytes.
    """
    return _FREE_BYTES + _MOST_RATIO * packed


def too_large(name: str) -> DataError:
    """The error of a file that holds more.

    Args:
        name: name of the file in messages.
    """
    return DataError(
        f"`{name}` has more than {_MOST_RATIO} bytes for each compressed byte; no usual text has.",
        remedy="Unpack it yourself, if you trust it, and name the unpacked file.",
    )


def packing_of(head: bytes) -> str:
    """The ending of the packing that a file's first bytes show; empty if they show none."""
    return next((ending for magic, ending in _MAGIC if head.startswith(magic)), "")


class _Unpacked(io.RawIOBase):
    def __init__(self, stream: Unpacking, packed: IO[bytes] | Counted, kind: str, name: str) -> None:
        self._stream, self._packed, self._kind, self._name = stream, packed, kind, name
        self._unpacked = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except (EOFError, OSError, ValueError, zlib.error, zipfile.BadZipFile, _lzma_error()) as error:
            raise DataError(
                f"`{self._name}` is a damaged {self._kind} file: {error}.",
                remedy="Compress or copy it again.",
            ) from None
        self._unpacked += len(data)
        self._refuse_bomb()
        buffer[: len(data)] = data
        return len(data)

    def _refuse_bomb(self) -> None:
        packed = self._packed.count if isinstance(self._packed, Counted) else 0
        if packed and self._unpacked > most_bytes(packed):
            raise too_large(self._name)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._packed.close()
        super().close()


def _lzma_error() -> type[Exception]:
    import lzma

    return lzma.LZMAError


def _gzip(packed: IO[bytes]) -> Unpacking:
    import gzip

    return gzip.GzipFile(fileobj=packed)


def _bzip2(packed: IO[bytes]) -> Unpacking:
    import bz2

    return bz2.BZ2File(packed)


def _xz(packed: IO[bytes]) -> Unpacking:
    import lzma

    return lzma.LZMAFile(packed)


def _zstandard(packed: IO[bytes]) -> Unpacking:
    """Unpacks with pyarrow, which is installed for Parquet; the standard library has it from Python 3.14 on."""
    import pyarrow as pa

    if not pa.Codec.is_available("zstd"):
        raise DataError(
            "this build of pyarrow cannot read `.zst` files.",
            remedy="Install one that can: `pip install --force-reinstall --only-binary :all: pyarrow`.",
        )
    stream: Unpacking = pa.CompressedInputStream(packed, "zstd")
    return stream


PACKINGS: dict[str, tuple[str, Callable[[IO[bytes]], Unpacking]]] = {
    ".gz": ("gzip", _gzip),
    ".bz2": ("bzip2", _bzip2),
    ".xz": ("xz", _xz),
    ".zst": ("Zstandard", _zstandard),
}

_MAGIC = (
    (b"\x1f\x8b", ".gz"),
    (b"BZh", ".bz2"),
    (b"\xfd7zXZ\x00", ".xz"),
    (b"\x28\xb5\x2f\xfd", ".zst"),
)
