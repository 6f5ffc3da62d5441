"""A pool of rows that may be labelled next, read once.

Left out, and counted, are rows that have a label already, and rows whose text stood earlier in the pool. Of a
large pool, rows are drawn by a hash of their text, so that the draw depends on nothing but the texts and the seed.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tunesmith.data.columns import View
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.reading import Row, read_rows, read_sample
from tunesmith.data.splits import text_keys
from tunesmith.data.to_label import Targets, columns_in, is_filled
from tunesmith.errors import DataError
from tunesmith.inference.prepared import as_examples
from tunesmith.inference.rows import CHUNK_ROWS, read_inputs, view_of
from tunesmith.tasks import RowError, Task, Values

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

MOST_ROWS = 20_000
"""Rows of the pool that a model reads; of a larger one, so many are drawn."""

LABELLED, REPEATED, NOT_DRAWN = "have a label", "repeat a text of the pool", "are beyond the draw"
_SAMPLE_ROWS = 500


@dataclass(frozen=True)
class PoolRow:
    """A row that may be labelled.

    Args:
        file: file that it is from.
        row: the row as it stands there.
        inputs: what the task read of it.
        number: its number in the pool, from 0.
    """

    file: str
    row: Row
    inputs: JsonObject
    number: int


@dataclass(frozen=True)
class Pool:
    """The rows of a pool.

    Args:
        rows: rows that may be labelled, in the order of the files.
        view: how rows are read.
        targets: columns that are to be labelled.
        n_rows: number of rows in the files.
        left_out: number of rows by the reason for which they are left out.
    """

    rows: list[PoolRow]
    view: View
    targets: Targets
    n_rows: int
    left_out: Mapping[str, int] = field(default_factory=dict)

    def without(self, numbers: Collection[int], reason: str) -> Pool:
        """The pool without some of its rows.

        Args:
            numbers: places of the rows in `rows`.
            reason: why they are left out.

        Raises:
            DataError: no row is left.
        """
        if not len(numbers):
            return self
        gone = set(map(int, numbers))
        rows = [row for place, row in enumerate(self.rows) if place not in gone]
        found = replace(self, rows=rows, left_out={**self.left_out, reason: len(gone)})
        found.refuse_empty()
        return found

    def refuse_empty(self) -> None:
        """Raises DataError where no row is left."""
        if not self.rows:
            reasons = ", ".join(f"{n:,} {why}" for why, n in self.left_out.items())
            raise DataError(
                f"no row of the pool is left to be labelled: of {self.n_rows:,} rows, {reasons}.",
                remedy="Give a file with rows that have no label.",
            )


def read_pool(
    task: Task,
    needed: Sequence[str],
    sources: Sequence[str],
    options: ReadOptions,
    targets: Callable[[View], Targets],
    *,
    seed: int,
    most: int = MOST_ROWS,
) -> Pool:
    """Reads a pool.

    Args:
        task: task that reads the rows.
        needed: columns that every row must have.
        sources: files, folders or Hub names.
        options: columns that are named, and those of a training.
        targets: gives the columns that are to be labelled, of a file that is read so; a row with a value in one of
            them is labelled.
        seed: random seed of the draw.
        most: most rows that are drawn.

    Raises:
        DataError: a source, a column or a row cannot be used, or there are no rows.
    """
    reader = _Reader(task, needed, targets, seed, most)
    for source in sources:
        reader.read(source, options)
    if reader.view is None:
        raise DataError("the pool has no rows.", remedy="Give a file with rows below its header.")
    rows = sorted((row for *_, row in reader.drawn), key=lambda row: row.number)
    pool = Pool(rows, reader.view, targets(reader.view), reader.n_rows, dict(reader.left_out))
    pool.refuse_empty()
    return pool


class _Reader:
    def __init__(
        self, task: Task, needed: Sequence[str], targets: Callable[[View], Targets], seed: int, most: int
    ) -> None:
        self.task, self.needed, self.targets, self.most = task, needed, targets, most
        self.salt = hashlib.blake2b(str(seed).encode(), digest_size=16).digest()
        self.view: View | None = None
        self.left_out: Counter[str] = Counter()
        self.known: set[bytes] = set()
        self.drawn: list[tuple[int, int, PoolRow]] = []
        self.n_rows = 0

    def read(self, source: str, options: ReadOptions) -> None:
        """Reads one source."""
        rows = read_rows(source)
        head, sample = read_sample(rows, _SAMPLE_ROWS)
        if not head:
            return
        view = view_of(self.task, sample, options, location=head[0][0])
        self.view = self.view or view
        if view.chosen != self.view.chosen:
            raise DataError(
                f"the files of a pool must have the same columns, and have {_shown(self.view)}, and "
                f"{_shown(view)}.",
                location=head[0][0],
                remedy="Pick rows from one file at a time.",
            )
        rest, targets = itertools.chain(head, rows), columns_in(self.targets(view))
        while chunk := list(itertools.islice(rest, CHUNK_ROWS)):
            self._add(list(self._open(chunk, view, targets)))

    def _open(self, chunk: list[tuple[str, Row]], view: View, targets: Sequence[str]) -> Iterator[PoolRow]:
        """The rows of a chunk that have no label."""
        for file, row in chunk:
            number, self.n_rows = self.n_rows, self.n_rows + 1
            if not row.problem and _is_labelled(row.values, targets):
                self.left_out[LABELLED] += 1
                continue
            try:
                inputs = read_inputs(self.task, self.needed, row, view)
            except RowError as error:
                raise DataError(
                    f"the row cannot be used: {error}",
                    location=row.location(file),
                    remedy="Fix it, or leave it out.",
                ) from None
            yield PoolRow(file, row, inputs, number)

    def _add(self, rows: list[PoolRow]) -> None:
        """Draws from rows: those with the least hashes stay."""
        if not rows:
            return
        keys = text_keys(as_examples(self.task, [row.inputs for row in rows]))
        for key, row in zip((bytes(key).ljust(16, b"\0") for key in keys), rows, strict=True):
            if key in self.known:
                self.left_out[REPEATED] += 1
                continue
            self.known.add(key)
            rank = int.from_bytes(hashlib.blake2b(key, digest_size=8, key=self.salt).digest(), "big")
            item = (-rank, row.number, row)
            if len(self.drawn) < self.most:
                heapq.heappush(self.drawn, item)
            else:
                heapq.heappushpop(self.drawn, item)
                self.left_out[NOT_DRAWN] += 1


def _shown(view: View) -> str:
    return ", ".join(f"`{ours}` = `{theirs}`" for ours, theirs in view.chosen.items())


def _is_labelled(values: Values, targets: Sequence[str]) -> bool:
    return any(is_filled(values.get(name)) for name in targets)
