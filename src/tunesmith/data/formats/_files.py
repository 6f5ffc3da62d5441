"""A file to read: local or remote, compressed or not, as bytes, as text, or as a seekable stream."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from typing import IO, cast

from tunesmith.data.formats._archive import ARCHIVE, choose_member, open_member
from tunesmith.data.formats._encodings import encoding_of, is_binary, text_problem, unmarked_utf16
from tunesmith.data.formats._packing import PACKINGS, packing_of, unpack
from tunesmith.data.formats._remote import filled, open_url, scheme_of
from tunesmith.errors import DataError
from tunesmith.links import links_out
from tunesmith.masking import shown_url

HEAD_BYTES = 2**16
_TEXT_HEAD_BYTES = 8192


def local_path(source: str) -> Path | None:
    """The path of a local source; None for a remote one."""
    scheme = scheme_of(source)
    if scheme and scheme not in ("file", "local"):
        return None
    return Path(filled(source[len(f"{scheme}://") :]) if scheme else source)


class DataFile:
    """One file.

    Args:
        location: a path, or a URL that fsspec knows; `FILE#PART` names a part of it (a split, a sheet, a file
            of an archive).
        notices: list to which notices for the user are appended.
    """

    def __init__(self, location: str, notices: list[str] | None = None) -> None:
        self._location, self.part = _without_part(location)
        self.notices: list[str] = [] if notices is None else notices
        self.path = local_path(self._location)
        self.file_name = str(self.path) if self.path else shown_url(self._location)
        self.name = f"{self.file_name}#{self.part}" if self.part else self.file_name
        suffixes = _suffixes(self._location if self.path else filled(self._location))
        is_packed = bool(suffixes) and suffixes[-1] in (*PACKINGS, ARCHIVE)
        self._packing = suffixes.pop() if is_packed else ""
        self._member = ""
        self.ending = suffixes[-1] if suffixes else ""

    def notice(self, text: str) -> None:
        """Adds a notice for the user, once."""
        if text not in self.notices:
            self.notices.append(text)

    def refuse_missing(self) -> None:
        """Raises a DataError if a local file is missing or empty."""
        if self.path is None:
            return
        if not os.path.isfile(self.path):
            looks_like_hub = self.path.suffix == "" and not self.path.is_absolute()
            hint = f" For a data set of the Hub, write `hub:{self.path}`." if looks_like_hub else ""
            raise DataError(f"no such file: `{self.path}`.", remedy="Fix the path of the data." + hint)
        if self.path.stat().st_size == 0:
            raise DataError(f"`{self.path}` is empty.", remedy="Give a file with a header and rows.")

    def find_packing(self) -> None:
        """Recognises a compressed file or an archive whose name does not say so."""
        found = "" if self._packing else packing_of(self.head())
        if found:
            self._packing = found
            self.notice(f"`{self.name}` is compressed as {found}, though its name does not say so")

    def enter_archive(self, endings: Collection[str]) -> None:
        """Chooses the one data file of an archive; does nothing for any other file.

        Args:
            endings: endings of data files.

        Raises:
            DataError: the archive holds no data file, or several.
        """
        if self._packing != ARCHIVE or self._member:
            return
        known = {*endings, *PACKINGS}
        with self._seekable_packed() as handle:
            self._member = choose_member(
                handle, self.part, lambda name: bool({*_suffixes(name)[-1:]} & known), self.file_name
            )
        self.part = ""
        inside = DataFile(self._member)
        self.ending, self._inner_packing = inside.ending, inside._packing

    def head(self) -> bytes:
        """The first bytes, unpacked."""
        with self.open_bytes() as handle:
            return handle.read(HEAD_BYTES)

    def open_bytes(self) -> io.BufferedReader:
        """Opens the file, unpacked."""
        if self._packing == ARCHIVE:
            found = open_member(self._seekable_packed(), self._member, self.name)
            return unpack(found, self._inner_packing, self.name) if self._inner_packing else found
        raw = self._open_packed()
        return unpack(raw, self._packing, self.name) if self._packing else raw

    def open_text(self, newline: str = "") -> IO[str]:
        """Opens a text file; bytes that are not UTF-8 become surrogates, for `text_problem` to find."""
        handle = self.open_bytes()
        head = handle.peek(_TEXT_HEAD_BYTES)[:_TEXT_HEAD_BYTES]
        codec, name = encoding_of(head)
        if name != "UTF-8":
            self.notice(f"`{self.name}` is read as {name}, because of its byte order mark")
            return io.TextIOWrapper(handle, encoding=codec, errors="surrogatepass", newline=newline)
        if is_binary(head):
            handle.close()
            raise _no_text(self.name, head)
        return io.TextIOWrapper(handle, encoding=codec, errors="surrogateescape", newline=newline)

    def read_text(self) -> str:
        """The whole text of a file, with a notice if it is not UTF-8."""
        with self.open_text() as handle:
            text = handle.read()
        if problem := text_problem(text):
            self.notice(f"`{self.name}`: {problem.removesuffix('.')}")
        return text

    def open_seekable(self) -> IO[bytes]:
        """Opens the file for a reader that seeks; a stream that cannot seek is copied to disk first."""
        return _seekable(self.open_bytes(), is_packed=bool(self._packing))

    def sha256(self) -> bytes:
        """Digest of the bytes of the file, without unpacking."""
        with self._open_packed() as handle:
            return hashlib.file_digest(handle, "sha256").digest()

    def _seekable_packed(self) -> IO[bytes]:
        return _seekable(self._open_packed(), is_packed=False)

    def _open_packed(self) -> io.BufferedReader:
        if self.path is None:
            return io.BufferedReader(cast("io.RawIOBase", open_url(self._location)))
        try:
            return self.path.open("rb")
        except PermissionError as error:
            raise DataError(
                f"`{self.path}` cannot be read: {error.strerror}.", remedy="Fix its permissions."
            ) from None


def refuse_links(folder: Path, paths: Iterable[Path]) -> None:
    """Raises DataError where a file of a folder of data is a link out of it: its maker chose what is read there.

    Args:
        folder: the folder, as the user named it.
        paths: the files that would be read.
    """
    for path, target in links_out(folder, paths):
        raise DataError(
            f"a folder of data must hold its files itself, and `{path}` is in `{target.parent}`.",
            remedy="Name that file instead of the folder, or copy it into the folder, if it is one that you want.",
        )


def _no_text(name: str, head: bytes) -> DataError:
    if found := unmarked_utf16(head):
        return DataError(
            f"`{name}` is {found} without a byte order mark, and a text must be UTF-8.",
            remedy=f"Convert it: `iconv -f {found} -t UTF-8 {name} > NEW_FILE`.",
        )
    return DataError(
        f"`{name}` is a binary file, not text.",
        remedy="Save it as UTF-8 text, or give it the ending of its format.",
    )


def _without_part(location: str) -> tuple[str, str]:
    """`FILE#PART` split in two; a file whose own name holds a `#` is not split."""
    head, mark, part = location.partition("#")
    path = local_path(location)
    if not mark or (path is not None and os.path.exists(path)):
        return location, ""
    return head if scheme_of(head) else filled(head), part


def _suffixes(location: str) -> list[str]:
    path = location.partition("?")[0] if scheme_of(location) else location
    return [suffix.lower() for suffix in PurePosixPath(path).suffixes]


def _seekable(handle: io.BufferedReader, *, is_packed: bool) -> IO[bytes]:
    if not is_packed and _can_seek(handle):
        return handle
    with handle, contextlib.ExitStack() as on_error:
        spooled = on_error.enter_context(tempfile.TemporaryFile())
        shutil.copyfileobj(handle, spooled)
        on_error.pop_all()
    spooled.seek(0)
    return cast("IO[bytes]", spooled)


def _can_seek(handle: IO[bytes]) -> bool:
    try:
        handle.seek(0, os.SEEK_END)
        handle.seek(0)
    except (OSError, ValueError):  # a web server that sends streams shows this only on an attempt
        return False
    return True
