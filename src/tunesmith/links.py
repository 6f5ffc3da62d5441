"""Links in a folder that somebody else made: a link to a file elsewhere would read what its maker does not have.

A link that stays within the folder is a file of it. A snapshot of the Hub's cache has links to the `blobs` beside
the snapshots, and these are files of it, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path


def links_out(folder: Path, paths: Iterable[Path] | None = None) -> Iterator[tuple[Path, Path]]:
    """Paths that lead out of a folder, by a link or by their names (`../x`), each with its target.

    Args:
        folder: the folder.
        paths: paths to look at; by default all in the folder.
    """
    home = folder.resolve()
    allowed = [home, *(it.parent / "blobs" for it in home.parents if it.name == "snapshots")]
    for path in sorted(folder.rglob("*")) if paths is None else paths:
        # The others need no look at the disk for every part of their names.
        if path.is_symlink() or ".." in path.parts or not path.is_relative_to(folder):
            target = path.resolve()
            if not any(target.is_relative_to(place) for place in allowed):
                yield path, target
