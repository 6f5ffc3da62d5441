"""One process at a time in a folder.

The lock is `flock` on the file `.lock`: the system drops it when its holder ends, however it ends. Three rules
keep a second process out:

- Only the process that holds the lock removes the file, and it does so last. A process that was refused removes
  nothing.
- A process that has locked a file checks that the name still leads to it. If not, its holder has removed it, and
  another process may hold a new one: it starts again.
- The folder is removed only when it is empty, and only by the process that made it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from tunesmith.errors import RunError

LOCK_FILE = ".lock"
_ATTEMPTS = 1000
_HELD = (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN)
_WORLD_SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder for this process, and makes it if it is not there.

    A folder that this made and that stays empty is removed again.

    Args:
        folder: Folder that this process will hold.

    Raises:
        RunError: another process holds it, or its file system has no locks.
    """
    descriptor, is_new = _acquire(folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the user has removed it, or there is something in it
            (folder / LOCK_FILE).unlink()
            if is_new:
                folder.rmdir()
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Whether a process holds a folder; nothing is made or changed."""
    import fcntl

    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _HELD
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def needing_locks(path: Path) -> Iterator[None]:
    """A context in which a lock is taken; where the file system has none, as some of a network, the error says so.

    Args:
        path: File or folder that is locked.

    Raises:
        RunError: The file system has no locks.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _HELD:
            raise
        raise RunError(
            f"`{path}` cannot be locked against other processes: {error.strerror}.",
            remedy="Choose a folder on another file system, as `output_dir` of a run.",
        ) from None


def refuse_several_processes() -> None:
    """Raises RunError under a launcher of several processes: each would do the whole work."""
    if name := launcher_variable():
        size = os.environ[name]
        raise RunError(
            f"one process does the work, and a launcher has started {size} ({name} is {size}).",
            remedy="Run the command without `torchrun`, `accelerate launch` or `mpirun`.",
        )


def launcher_variable() -> str:
    """The variable in which a launcher says that it has started several processes; empty without one."""
    sizes = {name: os.environ.get(name, "") for name in _WORLD_SIZES}
    return next((name for name, size in sizes.items() if size.isdigit() and int(size) > 1), "")


def _acquire(folder: Path) -> tuple[int, bool]:
    """The descriptor that holds the lock, and whether the folder was made for it."""
    is_new = False
    for _ in range(_ATTEMPTS):
        is_new = _make(folder) or is_new
        try:
            descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the folder's last holder has just removed it
            continue
        try:
            _lock_or_refuse(descriptor, folder)
            if _is_file_of(descriptor, folder / LOCK_FILE):
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return descriptor, is_new
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise RunError(f"`{folder}` cannot be made.", remedy="Choose another `output_dir`.")


def _make(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    return True


def _is_file_of(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def _lock_or_refuse(descriptor: int, folder: Path) -> None:
    import fcntl

    try:
        with needing_locks(folder):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        process = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        raise RunError(
            f"another process{f' ({process})' if process.isdigit() else ''} is writing to `{folder}`.",
            remedy="Wait for it to end, or choose another `output_dir`.",
        ) from None
