"""A folder is a registry: a file in it is an entry, its name (with hyphens) the entry's name.

Listing does not import; `get` imports the one file asked for and returns its one public object.
So a new task is one new file, and `--help` stays fast however many there are. What lives in another
package, or in a test, is added with `register`.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Generic, TypeVar, cast

from tunesmith.errors import UnknownNameError, did_you_mean

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """The entries of one folder.

    Args:
        package: dotted name of the folder, `tunesmith.tasks`.
        kind: what one entry is called, also the name of the object in its file: `task`.
    """

    def __init__(self, package: str, kind: str) -> None:
        self._package, self._kind = package, kind
        self._registered: dict[str, Entry] = {}

    def names(self) -> list[str]:
        """Every entry's name, sorted, without importing any of them."""
        folder = Path(__file__).parent.joinpath(*self._package.split(".")[1:])
        found = {m.name.replace("_", "-") for m in pkgutil.iter_modules([str(folder)]) if m.name[0] != "_"}
        return sorted(found | self._registered.keys())

    def get(self, name: str) -> Entry:
        """The entry of that name.

        Raises:
            UnknownNameError: there is none; the message lists what there is.
        """
        if name in self._registered:
            return self._registered[name]
        if name not in self.names():
            raise UnknownNameError(
                f"`{name}` is not {'an' if self._kind[0] in 'aeiou' else 'a'} {self._kind}.",
                remedy=did_you_mean(name, self.names()),
            )
        module = importlib.import_module(f"{self._package}.{name.replace('-', '_')}")
        return cast(Entry, getattr(module, self._kind))

    def register(self, name: str, entry: Entry) -> None:
        """Adds an entry that has no file in the folder; it wins over a file of the same name."""
        self._registered[name] = entry
