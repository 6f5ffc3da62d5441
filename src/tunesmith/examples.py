"""The folders of the bundled examples: in the installed package, or beside the sources of a checkout."""

from __future__ import annotations

from pathlib import Path

from tunesmith.errors import DataError


def example_folder(name: str) -> Path:
    """The folder of a bundled example.

    Raises:
        DataError: the installation lacks it.
    """
    package = Path(__file__).parent
    for folder in (package / "bundled" / name, package.parents[1] / "examples" / name):
        if folder.is_dir():
            return folder
    raise DataError(f"the bundled example `{name}` is missing.", remedy="Install tunesmith again.")
