"""Zip archives that hold one data file."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import IO

from tunesmith.data.formats._packing import Counted, guarded, most_bytes, too_large
from tunesmith.errors import DataError

ARCHIVE = ".zip"
_SHOWN_MEMBERS = 10
_DAMAGE = (zipfile.BadZipFile, struct.error, EOFError)


def choose_member(handle: IO[bytes], part: str, is_data: Callable[[str], bool], name: str) -> str:
    """The name of the data file within an archive.

    Args:
        handle: bytes of the archive.
        part: file that the user named; empty for the only data file.
        is_data: function that says whether a name is that of a data file.
        name: name of the archive in messages.

    Raises:
        DataError: it is not an archive, the named file does not exist, or there is not exactly one data file.
    """
    members = _members(handle, name)
    found = [part] if part in members else [member for member in members if not part and is_data(member)]
    if len(found) == 1:
        return found[0]
    said = f"holds {len(found)} data files" if found or not part else f"holds no `{part}`"
    listed = ", ".join(f"`{member}`" for member in members[:_SHOWN_MEMBERS]) or "nothing"
    more = f", and {len(members) - _SHOWN_MEMBERS} more" if len(members) > _SHOWN_MEMBERS else ""
    raise DataError(
        f"an archive must hold one data file, and `{name}` {said}. It holds: {listed}{more}.",
        remedy=f"Name one as `{name}#FILE`, or unpack the archive and name the files.",
    )


def open_member(handle: IO[bytes], member: str, name: str) -> io.BufferedReader:
    """Opens a file of an archive; damage raises a DataError, wherever it is found."""
    try:
        archive = zipfile.ZipFile(handle)
        stream = archive.open(member)
        packed = archive.getinfo(member).compress_size
        _refuse_link(archive.getinfo(member), name)
    except RuntimeError as error:  # zipfile raises it for a file with a password
        raise DataError(
            f"`{name}` cannot be read: {error}.", remedy="Unpack it, and name the data file itself."
        ) from None
    except (*_DAMAGE, OSError, ValueError) as error:
        raise _damaged(name, error) from None  # in the header of the file, which nothing has read before
    counted = Counted(handle)
    counted.count = packed  # a zip names its size
    return guarded(stream, counted, "zip", name)


def refuse_bomb(handle: IO[bytes], name: str) -> None:
    """Raises DataError for an archive of which a file says that it unpacks to far more than text does.

    Args:
        handle: bytes of the archive, which a library opens itself; it reads no more than a file says to have.
        name: name of the archive in messages.
    """
    with zipfile.ZipFile(handle) as archive:
        if any(info.file_size > most_bytes(info.compress_size) for info in archive.infolist()):
            raise too_large(name)
    handle.seek(0)


def _refuse_link(info: zipfile.ZipInfo, name: str) -> None:
    if stat.S_ISLNK(info.external_attr >> 16):
        raise DataError(
            f"`{info.filename}` of `{name}` is a link, and not a file.",
            remedy="Unpack the archive, and name the data file itself.",
        )


def _damaged(name: str, error: Exception) -> DataError:
    return DataError(f"`{name}` is a damaged zip file: {error}.", remedy="Compress or copy it again.")


def _members(handle: IO[bytes], name: str) -> list[str]:
    """The files in the archive, without hidden files that systems add."""
    try:
        infos = zipfile.ZipFile(handle).infolist()
    except (*_DAMAGE, NotImplementedError) as error:
        raise _damaged(name, error) from None
    paths = [PurePosixPath(info.filename) for info in infos if not info.is_dir()]
    hidden = {path for path in paths if any(part.startswith((".", "__MACOSX")) for part in path.parts)}
    return [str(path) for path in paths if path not in hidden]
