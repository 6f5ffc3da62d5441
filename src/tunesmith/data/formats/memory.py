"""Data that the program holds in memory, `memory:NAME`: DataFrames, data sets, lists of rows, columns.

`hold` gives an object its name, which ends in a digest of its rows: the same rows have the same name in every
process, so that a run resumes with them, and no others. Nothing is copied or written. The object is held only as
long as somebody holds what `hold` returned: for the time of a training, and of the run that it gave.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard
from weakref import WeakValueDictionary

from tunesmith.data.formats import Row, SourceFormat
from tunesmith.data.formats._tables import (
    Table,
    is_arrow,
    is_column,
    is_data_set,
    is_frame,
    pairs,
    parts_of,
    table_of,
)
from tunesmith.errors import DataError

_PREFIX = "memory:"
_DIGITS = 16


@dataclass(frozen=True, eq=False)
class Held:
    """An object that is held.

    Args:
        source: how it is written in a recipe.
        role: what it is for: `train`, `validation`, `test`; empty where there is only one.
        table: its rows; without any where it has parts.
        parts: its splits, by name.
    """

    source: str
    role: str
    table: Table
    parts: Mapping[str, Held] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What messages call it: `train DataFrame`."""
        return f"{self.role} {self.table.kind}".strip()


_HELD: WeakValueDictionary[str, Held] = WeakValueDictionary()


def hold(
    data: object, role: str = "", *, labels: object = None, names: tuple[str, str] = ("text", "label")
) -> Held:
    """Makes an object a source, as long as the result lives.

    Args:
        data: rows, see `_tables.table_of`; several splits; or a tuple of texts and labels.
        role: what it is for, for its name.
        labels: what is to be predicted for each of the texts that `data` is.
        names: names of the columns of texts and labels.

    Raises:
        DataError: it holds no rows that can be read.
    """
    if labels is None and _are_two_columns(data):
        texts, labels = data
        return hold(texts, role, labels=labels, names=names)
    found = parts_of(data) if labels is None else {}
    parts = {name: hold(part, name, names=names) for name, part in found.items()}
    if parts:
        table, digest = Table(type(data).__name__, lambda: iter(())), _digest_of_parts(parts)
    else:
        table = table_of(data, names[0]) if labels is None else pairs(data, labels, names)
        digest = _digest(table)
    return _known(Held(_PREFIX + _stem(role, digest), role, table, parts))


def is_table(data: object) -> bool:
    """Whether an object holds rows and columns, whatever it is asked for; a list or a mapping may be one."""
    return is_frame(data) or is_data_set(data) or is_arrow(data) or bool(parts_of(data))


def hold_again(held: Held, sources: Iterable[str]) -> list[Held]:
    """Makes an object the sources that have its rows, whatever they were for: it is given again.

    Args:
        held: object as it is held now.
        sources: sources of a run.

    Returns:
        What must be held, for those of the sources that are this object.
    """
    own = {held.source, *(part.source for part in held.parts.values())}
    digests = {source.rpartition("-")[2]: source for source in own}
    found = []
    for source in sources:
        stem, _, digest = source.removeprefix(_PREFIX).rpartition("-")
        if source.startswith(_PREFIX) and digest in digests:
            known = _held(digests[digest])
            found.append(_known(Held(source, stem, known.table, known.parts)))
    return found


def is_held(source: str) -> bool:
    """Whether a source is an object that this process holds."""
    return source in _HELD


def _known(held: Held) -> Held:
    """The object that is held already under this name, unless its rows were changed since; else the new one."""
    known = _HELD.get(held.source)
    if known is not None and (
        known.parts or _PREFIX + _stem(known.role, _digest(known.table)) == known.source
    ):
        return known
    _HELD[held.source] = held
    return held


def _stem(role: str, digest: bytes) -> str:
    return f"{role or 'data'}-{digest.hex()[:_DIGITS]}"


def _are_two_columns(data: object) -> TypeGuard[tuple[object, object]]:
    return isinstance(data, tuple) and len(data) == 2 and all(map(is_column, data))


def _digest(table: Table) -> bytes:
    """SHA-256 of the rows; of an object that is no plain value, the type counts alone."""
    digest = hashlib.sha256()
    for row in table.rows():
        text = json.dumps(row, ensure_ascii=False, default=lambda value: f"<{type(value).__name__}>")
        digest.update(text.encode("utf-8", "surrogatepass") + b"\n")
    return digest.digest()


def _digest_of_parts(parts: Mapping[str, Held]) -> bytes:
    return hashlib.sha256(" ".join(part.source for part in parts.values()).encode()).digest()


def _held(source: str) -> Held:
    held = _HELD.get(source)
    if held is None:
        raise DataError(
            f"`{source}` was an object in the memory of a program, and this one does not hold it; no file has it.",
            remedy="Give the same rows again, from Python (`tunesmith.train(data, recipe=…)`), or name a file.",
        )
    return held


def _rows(source: str, notices: list[str]) -> Iterator[tuple[str, Row]]:
    held = _held(source)
    if held.parts:
        lacks = "" if "train" in held.parts else ", and none of them is called `train`"
        raise DataError(
            f"the {held.name} holds {len(held.parts)} tables{lacks}.",
            remedy=f"Give one: {', '.join(f'`data[{name!r}]`' for name in held.parts)}.",
        )
    for number, values in enumerate(held.table.rows()):
        yield held.name, Row(number, values, unit="row")


def _fingerprint(source: str) -> bytes:
    held = _held(source)
    return _digest_of_parts(held.parts) if held.parts else _digest(held.table)


def _name(source: str) -> str:
    return _HELD[source].name if is_held(source) else source


format = SourceFormat(
    "an object in the memory of the program, `memory:NAME`",
    # `memory://` is the memory file system of fsspec.
    claims=lambda source: source.startswith(_PREFIX) and not source.startswith(_PREFIX + "//"),
    rows=_rows,
    files=lambda source: [],
    fingerprint=_fingerprint,
    name=_name,
    parts=lambda source: [(name, part.source) for name, part in _held(source).parts.items()],
    is_in_memory=True,
)
