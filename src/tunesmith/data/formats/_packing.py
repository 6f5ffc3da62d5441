"""Compressed streams, recognised by the ending. Damage raises a DataError, wherever in a file it is found."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Any, Protocol

from tunesmith.errors import DataError

_BUFFER_BYTES = 2**16


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
    return guarded(opener(packed), packed, kind, name)


def guarded(stream: Unpacking, packed: IO[bytes], kind: str, name: str) -> io.BufferedReader:
    """An unpacking stream whose errors name the damaged file.

    Args:
        stream: stream of the unpacked bytes.
        packed: bytes that it reads; closed with the returned stream.
        kind: name of the packing in messages.
        name: name of the file in messages.
    """
    return io.BufferedReader(_Unpacked(stream, packed, kind, name), _BUFFER_BYTES)


def packing_of(head: bytes) -> str:
    """The ending of the packing that a file's first bytes show; empty if they show none."""
    return next((ending for magic, ending in _MAGIC if head.startswith(magic)), "")


class _Unpacked(io.RawIOBase):
    def __init__(self, stream: Unpacking, packed: IO[bytes], kind: str, name: str) -> None:
        self._stream, self._packed, self._kind, self._name = stream, packed, kind, name

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
        buffer[: len(data)] = data
        return len(data)

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
