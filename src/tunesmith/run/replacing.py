"""An earlier run makes room for a new one, and comes back if the new one does not begin.

What the earlier run wrote is moved into a hidden folder within its own, and removed when the new run trains. An
error before that puts it back; so does the next start after a process that was killed. Each name says how far a
process came:

    .replaced.part   being moved there, or back: nothing new has been written
    .replaced        the whole earlier run; around it lies what the new one has written
    .replaced.old    no longer wanted
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_PART, _WHOLE, _OLD = ".replaced.part", ".replaced", ".replaced.old"


@contextlib.contextmanager
def set_aside(folder: Path, names: Sequence[str]) -> Iterator[Callable[[], None]]:
    """Moves what an earlier run wrote aside while a new one begins; it comes back after an error.

    Args:
        folder: Folder of the run, locked by this process.
        names: Names of the files and folders that a run writes.

    Yields:
        What to call when the new run has begun: it removes the earlier one for good.
    """
    part = folder / _PART
    part.mkdir()
    for name in names:
        if (folder / name).exists():
            (folder / name).rename(part / name)
    part.rename(folder / _WHOLE)
    try:
        yield lambda: _remove(folder)
    except BaseException:
        put_back(folder, names)
        raise


def put_back(folder: Path, names: Sequence[str]) -> bool:
    """Puts an earlier run back that is still aside; whether there was one.

    Args:
        folder: Folder of the run, locked by this process.
        names: Names of the files and folders that a run writes.
    """
    part, whole = folder / _PART, folder / _WHOLE
    if (folder / _OLD).is_dir():
        shutil.rmtree(folder / _OLD)
    if not (part.is_dir() or whole.is_dir()):
        return False
    if whole.is_dir():
        clear(folder, names)
        whole.rename(part)
    for path in part.iterdir():
        path.rename(folder / path.name)
    part.rmdir()
    return True


def clear(folder: Path, names: Sequence[str]) -> None:
    """Removes what a run wrote, and nothing else."""
    for name in names:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    if (folder / _WHOLE).is_dir():
        (folder / _WHOLE).rename(folder / _OLD)
        shutil.rmtree(folder / _OLD)
