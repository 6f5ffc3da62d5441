"""Files and folders that appear whole or not at all, with the rights that the umask gives.

`tempfile` makes what is its owner's alone, and some libraries write so too; a run that others of a group cannot
read, or one that they can though the umask forbids it, is neither what `cp` would make nor what was asked for.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_ATTEMPTS = 100
_WRAPPED = re.compile(r"\(os error (\d+)\)")
_UNFINISHED = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}")


def write_atomically(path: Path, content: str | bytes | Iterable[str]) -> None:
    """Writes a file so that a reader, or a crash, finds the old one or the new one whole.

    Args:
        path: Name of the file.
        content: Content of the file; pieces of text are written as they come, and are never in memory together.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pieces: Iterable[str | bytes] = [content] if isinstance(content, (str, bytes)) else content
    descriptor, temporary = _new_file(path)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            for piece in pieces:
                handle.write(piece.encode("utf-8") if isinstance(piece, str) else piece)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def new_folder(parent: Path, prefix: str) -> Path:
    """A new empty folder whose name begins with `prefix`, with the rights that the umask gives."""
    for _ in range(_ATTEMPTS):
        folder = parent / f"{prefix}{secrets.token_hex(4)}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"no free name for a folder `{prefix}…` in `{parent}`")


def give_usual_rights(folder: Path) -> None:
    """Gives every file of a folder that `new_folder` made the rights that the umask gives."""
    rights = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(rights)


@contextmanager
def published_as(target: Path) -> Iterator[Path]:
    """A folder to fill, which takes the path of the target when it is filled; after an error, nothing is kept.

    An earlier folder there is moved away and the new one into its place, in two renames.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = new_folder(target.parent, f".{target.name}.")
    try:
        yield aside
        give_usual_rights(aside)
        if not target.exists():
            aside.rename(target)
            return
        old = new_folder(target.parent, f".{target.name}.")
        target.rename(old / target.name)
        aside.rename(target)
        shutil.rmtree(old)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def remove_unfinished(folder: Path, names: Collection[str] | None = None) -> None:
    """Removes what `write_atomically` and `new_folder` left when their process was killed.

    Args:
        folder: folder that no other process writes to now.
        names: names of the files whose unfinished copies are removed; None for all.
    """
    for path in folder.glob(".*") if folder.is_dir() else ():
        found = _UNFINISHED.fullmatch(path.name)
        if found is None or (names is not None and found["name"] not in names):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def system_errors(path: Path) -> Iterator[None]:
    """A context in which an error of the system that a library of Rust wraps is the OSError that it was.

    Args:
        path: file or folder that is written.

    Raises:
        OSError: the disk is full, a file may not be as large, or another error of the system.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # the tokenizers library raises bare Exception
        if found := _WRAPPED.search(str(error)):
            number = int(found[1])
            raise OSError(number, os.strerror(number), str(path)) from None
        raise


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of a folder, which need not exist yet."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    return shutil.disk_usage(there).free


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new_file(path: Path) -> tuple[int, Path]:
    """An open file beside another, and its path."""
    for _ in range(_ATTEMPTS):
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), temporary
        except FileExistsError:
            continue
    raise FileExistsError(f"no free name for a file beside `{path}`")
