"""What installed packages add to tunesmith: their entry points in groups such as `tunesmith.tasks`.

`importlib.metadata` takes 35 ms to import, and all of `tunesmith --help` takes 80 ms. So the files of entry points
are first searched for a group that begins with `tunesmith.`; it is imported only if there is one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

PREFIX = "tunesmith."
"""How the name of every group begins."""

_HEADER = f"[{PREFIX}".encode()


@dataclass(frozen=True)
class PlugIn:
    """One entry point of an installed package.

    Args:
        name: Name that people type.
        package: Name of the package.
        version: Version of the package.
        entry_point: Where the object is.
    """

    name: str
    package: str
    version: str
    entry_point: EntryPoint

    @property
    def origin(self) -> str:
        """The package with its version: `yes-no 1.0`."""
        return f"{self.package} {self.version}"

    def load(self) -> object:
        """The object; whatever its module raises on import goes through."""
        return self.entry_point.load()


def plug_ins(group: str) -> tuple[PlugIn, ...]:
    """The entry points of a group, by name; none of them is imported.

    Args:
        group: Name of the group, `tunesmith.tasks`.
    """
    return _of_group(group, tuple(sys.path))


@cache
def _of_group(group: str, path: tuple[str, ...]) -> tuple[PlugIn, ...]:
    """The entry points of a group, read once for each state of `sys.path`."""
    if not _any_is_ours(path):
        return ()
    from importlib import metadata

    points = metadata.entry_points(group=group)
    found = [PlugIn(point.name, point.dist.name, point.dist.version, point) for point in points if point.dist]
    return tuple(sorted(found, key=lambda plug_in: (plug_in.name, plug_in.origin)))


@cache
def _any_is_ours(path: tuple[str, ...]) -> bool:
    """Whether a package on `sys.path` may have an entry point of ours."""
    for folder in path:
        if os.path.isfile(folder):  # an archive, which only importlib.metadata reads
            return True
        if any(_HEADER in text for text in _entry_point_files(folder or os.curdir)):
            return True
    return False


def _entry_point_files(folder: str) -> Iterator[bytes]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((".dist-info", ".egg-info")):
                with suppress(OSError):
                    yield Path(entry.path, "entry_points.txt").read_bytes()
