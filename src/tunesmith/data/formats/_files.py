"""A file to read: here or elsewhere, packed or not, as bytes, as text, or to be sought in."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO, cast

from tunesmith.data.formats._packing import PACKINGS, unpack
from tunesmith.data.formats._remote import filled, open_url, scheme_of
from tunesmith.errors import DataError
from tunesmith.masking import shown_url

_HEAD_BYTES = 8192
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


def local_path(source: str) -> Path | None:
    """The path of a source on this machine; none for one elsewhere."""
    scheme = scheme_of(source)
    if scheme and scheme not in ("file", "local"):
        return None
    return Path(filled(source[len(f"{scheme}://") :]) if scheme else source)


def is_utf8(text: str) -> bool:
    """Whether a text that `open_text` read was UTF-8 in the file."""
    return text.isascii() or not _ESCAPED_BYTE.search(text)


class DataFile:
    """One file.

    Args:
        location: a path, or a URL that fsspec knows.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self.path = local_path(location)
        self.name = str(self.path) if self.path else shown_url(location)
        suffixes = _suffixes(location if self.path else filled(location))
        self._packing = suffixes.pop() if suffixes and suffixes[-1] in PACKINGS else ""
        self.ending = suffixes[-1] if suffixes else ""

    def refuse_missing(self) -> None:
        """Raises DataError when a local file is not there, or empty."""
        if self.path is None:
            return
        if not os.path.isfile(self.path):
            looks_like_hub = self.path.suffix == "" and not self.path.is_absolute()
            hint = f" For a data set of the Hub, write `hub:{self.path}`." if looks_like_hub else ""
            raise DataError(f"no such file: `{self.path}`.", remedy="Mend the path of the data." + hint)
        if self.path.stat().st_size == 0:
            raise DataError(f"`{self.path}` is empty.", remedy="Give a file with a header and rows.")

    def open_bytes(self) -> io.BufferedReader:
        """Opens the file, unpacked."""
        raw = self._open_packed()
        return unpack(raw, self._packing, self.name) if self._packing else raw

    def open_text(self, newline: str = "") -> IO[str]:
        """Opens a text file; bytes that are not UTF-8 become surrogates, to be found row by row."""
        handle = self.open_bytes()
        if b"\0" in handle.peek(_HEAD_BYTES)[:_HEAD_BYTES]:
            handle.close()
            raise DataError(
                f"`{self.name}` is a binary file, not text.",
                remedy="Save it as UTF-8 text, or give it the ending of its true format.",
            )
        return io.TextIOWrapper(handle, encoding="utf-8-sig", errors="surrogateescape", newline=newline)

    def open_seekable(self) -> IO[bytes]:
        """Opens the file for a reader that jumps about in it; what cannot be sought in is spooled to disk."""
        handle = self.open_bytes()
        if not self._packing and _can_seek(handle):
            return handle
        with handle, contextlib.ExitStack() as on_error:
            spooled = on_error.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(handle, spooled)
            on_error.pop_all()
        spooled.seek(0)
        return cast("IO[bytes]", spooled)

    def sha256(self) -> bytes:
        """Digest of the bytes as they lie, packed or not."""
        with self._open_packed() as handle:
            return hashlib.file_digest(handle, "sha256").digest()

    def _open_packed(self) -> io.BufferedReader:
        if self.path is None:
            return io.BufferedReader(cast("io.RawIOBase", open_url(self._location)))
        try:
            return self.path.open("rb")
        except PermissionError as error:
            raise DataError(
                f"`{self.path}` cannot be read: {error.strerror}.", remedy="Mend its rights."
            ) from None


def _suffixes(location: str) -> list[str]:
    path = location.partition("?")[0] if scheme_of(location) else location
    return [suffix.lower() for suffix in PurePosixPath(path).suffixes]


def _can_seek(handle: IO[bytes]) -> bool:
    try:
        handle.seek(0, os.SEEK_END)
        handle.seek(0)
    except (OSError, ValueError):  # a web server that sends streams says so only when it is tried
        return False
    return True
