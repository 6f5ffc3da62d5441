"""A folder is a registry: a file in it is an entry, its name (with hyphens) the entry's name.

Listing does not import; `get` imports the one file asked for and returns its one public object.
So a new task is one new file, and `--help` stays fast however many there are. Installed packages add entries by
entry points (docs/extend.md), and tests with `replaced`.

A name that two packages claim, or a package and tunesmith itself, is an error when it is asked for. So is an entry
that cannot be loaded. Neither disturbs the other entries.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import pkgutil
from collections.abc import Collection, Iterator
from pathlib import Path
from types import UnionType
from typing import Generic, TypeVar, cast

from tunesmith.errors import PluginError, UnknownNameError, did_you_mean
from tunesmith.plug_ins import PREFIX, PlugIn, plug_ins

Entry = TypeVar("Entry")

_OURS = "tunesmith"


class Registry(Generic[Entry]):
    """The entries of one folder, and those of installed packages.

    Args:
        package: Dotted name of the folder, `tunesmith.tasks`; its last part names the group of entry points.
        kind: What one entry is called, also the name of the object in its file: `task`.
        entry_type: What an entry of another package must be an instance of.
        hyphens: Whether names have hyphens where those of files have underscores.
    """

    def __init__(
        self, package: str, kind: str, entry_type: type | UnionType = object, *, hyphens: bool = True
    ) -> None:
        self._package, self._kind, self._type, self._hyphens = package, kind, entry_type, hyphens
        self._registered: dict[str, Entry] = {}

    @property
    def group(self) -> str:
        """The group of entry points that adds to this registry: `tunesmith.tasks`."""
        return PREFIX + self._package.rpartition(".")[2]

    def names(self) -> list[str]:
        """Every entry's name, sorted, without importing any of them."""
        added = {plug_in.name for plug_in in plug_ins(self.group)}
        return sorted({*self.built_in(), *self._registered, *added})

    def built_in(self) -> Collection[str]:
        """The names of tunesmith's own entries, sorted."""
        files = sorted(name for name in self._files() if name[0] != "_")
        return [name.replace("_", "-") if self._hyphens else name for name in files]

    def get(self, name: str) -> Entry:
        """The entry of that name.

        Raises:
            UnknownNameError: There is none; the message lists what there is.
            PluginError: It belongs to a package and cannot be loaded, or two packages claim it.
        """
        if name in self._registered:
            return self._registered[name]
        claims = self._claims(name)
        if not claims:
            raise UnknownNameError(
                f"`{name}` is not {'an' if self._kind[0] in 'aeiou' else 'a'} {self._kind}.",
                remedy=did_you_mean(name, self.names()),
            )
        if len(claims) > 1:
            raise PluginError(
                f"the {self._kind} `{name}` has several owners: {self.origin(name)}.",
                remedy="Uninstall the package that you need less, or ask its author for another name.",
            )
        return self._built_in_entry(name) if claims[0] is None else self._plugged(claims[0])

    def loadable(self) -> tuple[dict[str, Entry], list[PluginError]]:
        """Every entry that can be loaded, tunesmith's own first, and the errors of those that cannot."""
        found: dict[str, Entry] = {}
        errors = []
        for name in dict.fromkeys([*self.built_in(), *self.names()]):
            try:
                found[name] = self.get(name)
            except PluginError as error:
                errors.append(error)
        return found, errors

    def origin(self, name: str) -> str:
        """The package that an entry comes from, with its version; empty for tunesmith's own."""
        claims = [] if name in self._registered else self._claims(name)
        if not any(claims):
            return ""
        return " and ".join(_OURS if claim is None else claim.origin for claim in claims)

    @contextlib.contextmanager
    def replaced(self, name: str, entry: Entry) -> Iterator[None]:
        """A context in which a name has this entry, whatever else has the name; for tests."""
        before = self._registered
        self._registered = {**before, name: entry}
        try:
            yield
        finally:
            self._registered = before

    def _claims(self, name: str) -> list[PlugIn | None]:
        """Who has an entry of that name; None is tunesmith itself."""
        ours = [None] if name in self.built_in() else []
        return [*ours, *(plug_in for plug_in in plug_ins(self.group) if plug_in.name == name)]

    def _files(self) -> tuple[str, ...]:
        return _modules_in(Path(__file__).parent.joinpath(*self._package.split(".")[1:]))

    def _built_in_entry(self, name: str) -> Entry:
        module = importlib.import_module(f"{self._package}.{name.replace('-', '_')}")
        return cast(Entry, getattr(module, self._kind))

    def _plugged(self, plug_in: PlugIn) -> Entry:
        try:
            entry = plug_in.load()
        except Exception as error:  # whatever the import of another's module raises
            raise self._unusable(
                plug_in, f"cannot be loaded: {type(error).__name__}: {str(error).rstrip('.')}"
            ) from error
        if not isinstance(entry, self._type):
            raise self._unusable(plug_in, f"is not what it should be: {type(entry).__name__}")
        if isinstance(own := getattr(entry, "name", None), str) and own != plug_in.name:
            raise self._unusable(plug_in, f"calls itself `{own}`")
        return cast(Entry, entry)

    def _unusable(self, plug_in: PlugIn, why: str) -> PluginError:
        return PluginError(
            f"the {self._kind} `{plug_in.name}` of the package {plug_in.origin} {why}.",
            remedy=f"Update the package, or remove it: `pip uninstall {plug_in.package}`.",
            location=plug_in.entry_point.value,
        )


@functools.cache
def _modules_in(folder: Path) -> tuple[str, ...]:
    """Names of the modules in a folder, which does not change while the process lives."""
    return tuple(module.name for module in pkgutil.iter_modules([str(folder)]))
