"""Holding rows out: stratified by label, groups kept whole, the same text never on both sides.

Rows of one group (`group_by`, and always rows of equal text) are one unit: a model would know a copy of a training
text among the test rows by heart. Units are distributed in an order that depends only on the seed, each to the
side whose share of its label is furthest behind. Every label keeps a row in training. It also gets a held-out row,
as long as this adds at most half as many rows again as requested.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from array import array
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.examples import Examples
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from tunesmith.types import Array

_MOST_SHARE = 1.5


def hold_out(
    examples: Examples,
    share: float,
    *,
    strata: Sequence[str],
    group_by: str | None,
    seed: int,
    purpose: str,
    together: Sequence[str] = (),
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to keep and rows to hold out, both in file order.

    Args:
        examples: rows to split.
        share: share of the rows to hold out, above 0 and below 1.
        strata: names of the columns whose values should be equally frequent on both sides.
        group_by: name of an extra column; rows with the same value stay on one side.
        seed: random seed for the split.
        purpose: `validation` or `test`, so that the two splits differ.
        together: names of columns; rows with the same value stay on one side.

    Raises:
        DataError: a side would be empty.
    """
    of_rows = units(examples, group_by, together)
    labels = label_numbers(examples, strata)
    held = _deal(of_rows, labels, share, seed, purpose)
    kept = np.setdiff1d(np.arange(len(examples)), held)
    if not len(held) or not len(kept):
        raise DataError(
            f"holding out {share:.0%} of {len(examples)} rows for {purpose} leaves a side empty: they are "
            f"{len(np.unique(of_rows))} texts or groups that must stay whole, and every label stays in training.",
            remedy=f"Add rows, give a file as `data.{purpose}`, or choose another share.",
            location=f"data.{purpose}",
        )
    return kept, held


def normalised(text: str) -> str:
    """The form in which texts are compared for duplicates: NFKC, lower case, single spaces."""
    if not text.isascii():  # to ASCII, NFKC does nothing
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def text_keys(examples: Examples) -> NDArray[np.bytes_]:
    """[rows], a key for each row; rows whose inputs are equal after `normalised` have equal keys.

    A key is 128 bits of BLAKE2: among a billion texts, two different ones share a key with a probability of 1e-21.
    """
    texts = [examples.columns[name] for name in examples.inputs]
    keys = np.empty(len(examples), dtype="S16")
    for row, parts in enumerate(zip(*texts, strict=True)):
        whole = "\0".join(normalised(str(part)) for part in parts)
        keys[row] = hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return keys


def rows_among(examples: Examples, keys: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Rows of `examples` whose text has one of the keys."""
    return np.flatnonzero(np.isin(text_keys(examples), keys))


def overlap(examples: Examples, others: Examples) -> NDArray[np.int64]:
    """Rows of `examples` whose text also occurs in `others`."""
    return rows_among(examples, text_keys(others))


def units(
    examples: Examples,
    group_by: str | None,
    together: Sequence[str],
    keys: NDArray[np.bytes_] | None = None,
) -> NDArray[np.int64]:
    """[rows], the unit of each row; rows of equal text or of one group are in one unit.

    Args:
        examples: rows.
        group_by: name of an extra column.
        together: names of columns.
        keys: what `text_keys` gave, where it is known.
    """
    # Union-find: every row points to the first row of its text; then texts of one group are joined.
    parent = array("q", _firsts(text_keys(examples) if keys is None else keys).tobytes())

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for joining in _keyings(examples, group_by, together):
        first: dict[object, int] = {}
        for row, key in enumerate(joining):
            if key is not None:
                parent[root(row)] = root(first.setdefault(key, row))
    return np.array([root(row) for row in range(len(examples))], dtype=np.int64)


def _keyings(
    examples: Examples, group_by: str | None, together: Sequence[str]
) -> Iterator[Iterator[Hashable]]:
    """Keys that join rows, besides their text: the keys of all rows, for each column."""
    for name in together:
        yield (None if value in (None, "") else normalised(str(value)) for value in examples.columns[name])
    if group_by is not None:
        yield (None if value in (None, "") else value for value in examples.extra[group_by])


def _firsts(keys: Array) -> NDArray[np.int64]:
    """[rows], the first row with the same key."""
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    return np.asarray(first[number], dtype=np.int64)


def label_numbers(examples: Examples, names: Sequence[str]) -> NDArray[np.int64]:
    """[rows], a number for each combination of values in the columns; zeros without columns."""
    if not names:
        return np.zeros(len(examples), dtype=np.int64)

    def keys() -> Iterator[tuple[object, ...]]:
        return zip(*(examples.columns[name] for name in names), strict=True)

    ids = {key: i for i, key in enumerate(sorted(set(keys())))}
    return np.fromiter((ids[key] for key in keys()), dtype=np.int64, count=len(examples))


def _deal(
    units: NDArray[np.int64], labels: NDArray[np.int64], share: float, seed: int, purpose: str
) -> NDArray[np.int64]:
    members = np.argsort(units, kind="stable")  # rows of one unit side by side, in file order
    names, starts = np.unique(units[members], return_index=True)
    ends = np.append(starts[1:], len(members))
    left = np.bincount(labels)
    wanted = _quotas(left, share)
    is_held = np.zeros(len(units), dtype=bool)
    for unit in order_of(names, seed, purpose):
        rows = members[starts[unit] : ends[unit]]
        # A unit is taken when it brings the held side closer to its quotas than it overshoots them.
        # The last row of a label is never taken.
        if len(rows) == 1:
            label = labels[rows[0]]
            taken = wanted[label] > 0 and left[label] > 1
            wanted[label] -= taken
            left[label] -= taken
        else:
            counts = np.bincount(labels[rows], minlength=len(wanted))
            taken = np.minimum(counts, wanted.clip(min=0)).sum() * 2 > counts.sum()
            taken = taken and not (left[counts > 0] == counts[counts > 0]).any()
            wanted -= counts * taken
            left -= counts * taken
        is_held[rows] = taken
    return np.flatnonzero(is_held)


def _quotas(counts: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Rows of each label to hold out: largest remainders, never a label's last row, one of each if possible.

    It is possible while this gives at most half as many rows again as requested; the most frequent labels come
    first.
    """
    exact = counts * share
    quotas = np.floor(exact).astype(np.int64)
    left = round(counts.sum() * share) - quotas.sum()
    quotas[np.argsort(quotas - exact, kind="stable")[:left]] += 1
    without = np.flatnonzero((quotas == 0) & (counts >= 2))
    room = max(0, math.ceil(_MOST_SHARE * share * counts.sum() - 1e-9) - int(quotas.sum()))
    quotas[without[np.argsort(-counts[without], kind="stable")][:room]] = 1
    return np.asarray(np.minimum(quotas, np.maximum(counts - 1, 0)))


def order_of(names: NDArray[np.int64], seed: int, purpose: str) -> NDArray[np.int64]:
    """[units], their positions in the order of distribution: by the SHA-256 of their names."""
    ranks = np.empty((len(names), 2), dtype=">u8")
    for position, name in enumerate(names):
        digest = hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest()
        ranks[position] = np.frombuffer(digest, dtype=">u8", count=2)
    return np.lexsort((ranks[:, 1], ranks[:, 0]))
