"""Token ids of many sequences, and their labels and other fields: flat arrays with offsets, not lists of lists.

A row of the data may become several sequences (windows of a long text, blocks of a document); `rows` gives the
row of each sequence. Every field of a batch has the name that the model's forward pass uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

if TYPE_CHECKING:
    from tunesmith.types import Array

_BLOCK_SEQUENCES = 65_536

Lost = dict[str, tuple[int, int]]
"""What `max_length` truncates, by kind: (number lost, total number)."""


@dataclass(frozen=True)
class Ragged:
    """Sequences of different lengths in one flat array.

    Args:
        values: [items, …], all sequences one after the other.
        offsets: [sequences + 1], start of each sequence in `values`.
    """

    values: Array
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]] | Sequence[Array], dtype: DTypeLike = np.int32) -> Ragged:
        """Builds it from a list of lists, or of arrays."""
        lengths = np.fromiter(map(len, sequences), dtype=np.int64, count=len(sequences))
        if len(sequences) and isinstance(sequences[0], np.ndarray):
            return cls(np.concatenate(sequences).astype(dtype), _offsets(lengths))
        flat = np.fromiter((item for sequence in sequences for item in sequence), dtype, lengths.sum())
        return cls(flat, _offsets(lengths))

    @classmethod
    def join(cls, parts: Sequence[Ragged]) -> Ragged:
        """The parts joined, one after the other."""
        lengths = np.concatenate([part.lengths for part in parts])
        return cls(np.concatenate([part.values for part in parts]), _offsets(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, sequence: int) -> Array:
        return self.values[self.offsets[sequence] : self.offsets[sequence + 1]]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """[sequences], number of items of each; computed once, since every batch needs it."""
        return np.diff(self.offsets)

    def take(self, sequences: NDArray[np.int64]) -> Ragged:
        """The given sequences, in the given order, in memory."""
        lengths = self.lengths[sequences]
        offsets = _offsets(lengths)
        starts = np.repeat(self.offsets[sequences] - offsets[:-1], lengths)
        return Ragged(self.values[starts + np.arange(offsets[-1])], offsets)

    def sums(self, values: Array | None = None) -> Array:
        """[sequences], the sum of each sequence's values (its own, or others of the same shape)."""
        flat = self.values if values is None else values
        wide = np.float64 if flat.dtype.kind == "f" else np.int64
        found = np.zeros((len(self), *flat.shape[1:]), dtype=wide)
        for start in range(0, len(self), _BLOCK_SEQUENCES):
            ends = self.offsets[start : start + _BLOCK_SEQUENCES + 1]
            block = flat[ends[0] : ends[-1]]
            running = np.zeros((len(block) + 1, *flat.shape[1:]), dtype=wide)
            np.cumsum(block, axis=0, dtype=wide, out=running[1:])
            found[start : start + len(ends) - 1] = running[ends[1:] - ends[0]] - running[ends[:-1] - ends[0]]
        return found


@dataclass(frozen=True)
class Encoded:
    """Encoded sequences.

    Args:
        ragged: fields of variable length by name, `input_ids` among them.
        dense: fields of fixed length by name, [sequences, …].
        rows: [sequences], row of each sequence, in rising order.
        n_rows: number of rows.
        lost: what `max_length` truncated, by kind.
    """

    ragged: dict[str, Ragged]
    dense: dict[str, Array]
    rows: NDArray[np.int64]
    n_rows: int
    lost: Lost = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        ragged: Mapping[str, Sequence[Sequence[int]]],
        dense: Mapping[str, ArrayLike] | None = None,
        *,
        rows: Sequence[int] | None = None,
        n_rows: int | None = None,
        lost: Lost | None = None,
    ) -> Encoded:
        """Builds it from the lists of a tokenizer; without `rows`, each sequence is a row of its own."""
        arrays = {name: Ragged.of(sequences) for name, sequences in ragged.items()}
        n = len(next(iter(arrays.values())))
        of_rows = np.arange(n) if rows is None else np.asarray(rows, dtype=np.int64)
        fixed = {name: np.asarray(values) for name, values in (dense or {}).items()}
        return cls(arrays, fixed, of_rows, n if n_rows is None else n_rows, lost or {})

    @classmethod
    def join(cls, parts: Sequence[Encoded]) -> Encoded:
        """The parts joined, one after the other; row numbers continue from part to part."""
        first = np.cumsum([0, *(part.n_rows for part in parts)])
        lost: Lost = {}
        for part in parts:
            lost = add_losses(lost, part.lost)
        return cls(
            {name: Ragged.join([part.ragged[name] for part in parts]) for name in parts[0].ragged},
            {name: np.concatenate([part.dense[name] for part in parts]) for name in parts[0].dense},
            np.concatenate([part.rows + start for part, start in zip(parts, first, strict=False)]),
            int(first[-1]),
            lost,
        )

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """[sequences], tokens that the model computes: those it reads, and those that its decoder writes."""
        computed = [ragged.lengths for name, ragged in self.ragged.items() if name in _COMPUTED]
        return np.asarray(sum(computed))

    @cached_property
    def longest_read(self) -> NDArray[np.int64]:
        """[sequences], tokens of the longest part that the model reads at once."""
        read = [ragged.lengths for name, ragged in self.ragged.items() if name.endswith("input_ids")]
        return np.asarray(np.max(read, axis=0))

    def take(self, sequences: NDArray[np.int64]) -> Encoded:
        """The given sequences, in the given order, with their rows."""
        return replace(
            self,
            ragged={name: values.take(sequences) for name, values in self.ragged.items()},
            dense={name: values[sequences] for name, values in self.dense.items()},
            rows=self.rows[sequences],
        )

    def of_rows(self, rows: NDArray[np.int64]) -> Encoded:
        """The sequences of the given rows, which are in rising order and get the numbers from 0."""
        chosen = self.take(np.flatnonzero(np.isin(self.rows, rows)))
        return replace(chosen, rows=np.searchsorted(rows, chosen.rows), n_rows=len(rows))

    def sum_by_row(self, values: Array) -> NDArray[np.float64]:
        """[rows, …], sums of values [sequences, …] over the sequences of each row."""
        sums = np.zeros((self.n_rows, *values.shape[1:]), dtype=np.float64)
        np.add.at(sums, self.rows, values)
        return sums


def add_losses(one: Lost, other: Lost) -> Lost:
    """The sum of two such counts."""
    both = dict(one)
    for name, (gone, total) in other.items():
        before = both.get(name, (0, 0))
        both[name] = (before[0] + gone, before[1] + total)
    return both


_COMPUTED = ("input_ids", "decoder_labels", "rejected_input_ids", "pair_input_ids", "negative_input_ids")


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
