"""Holding rows out: stratified by label, whole groups together, the same text never on both sides.

Rows of one group (`group_by`, and always rows of equal text) are one unit: a copy of a training text among
the test rows would be scored from memory. Units are dealt in an order that depends on the seed alone, each to
the side whose share of its label is furthest behind.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.examples import Examples
from tunesmith.errors import DataError


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
        examples: the rows to share out.
        share: of the rows to hold out, above 0 and below 1.
        strata: names of the columns whose values should be equally frequent on both sides.
        group_by: an extra column whose equal values stay together.
        seed: of the deal.
        purpose: `validation` or `test`, so that both deals differ.
        together: names of the columns whose equal values stay together.

    Raises:
        DataError: a side would be empty, or lack a label it needs.
    """
    units = _units(examples, group_by, together)
    labels = _strata(examples, strata)
    held = _deal(units, labels, share, seed, purpose)
    kept = np.setdiff1d(np.arange(len(examples)), held)
    if not len(held) or not len(kept):
        raise DataError(
            f"holding out {share:.0%} of {len(examples)} rows for {purpose} leaves a side empty.",
            remedy=f"Add rows, give a file as `data.{purpose}`, or choose another share.",
            place=f"data.{purpose}",
        )
    return kept, held


def normalised(text: str) -> str:
    """The text as duplicates are compared: NFKC, lower case, runs of white space as one blank."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_keys(examples: Examples) -> list[str]:
    """One key a row: equal where all that is read of it is equal after `normalised`."""
    texts = [examples.columns[name] for name in examples.inputs]
    return ["\0".join(normalised(str(part)) for part in parts) for parts in zip(*texts, strict=True)]


def overlap(examples: Examples, others: Examples) -> NDArray[np.int64]:
    """Rows of `examples` whose text also stands in `others`."""
    known = set(text_keys(others))
    return np.array([i for i, key in enumerate(text_keys(examples)) if key in known], dtype=np.int64)


def _units(examples: Examples, group_by: str | None, together: Sequence[str]) -> NDArray[np.int64]:
    """[rows], the unit each row belongs to; a unit is joined by equal text or by an equal group."""
    parent = list(range(len(examples)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    keyings: list[Sequence[Any]] = [text_keys(examples)]
    keyings += [[(name, normalised(str(v))) for v in examples.columns[name]] for name in together]
    if group_by is not None:
        keyings.append([None if v in (None, "") else ("group", v) for v in examples.extra[group_by]])
    for keys in keyings:
        first: dict[Any, int] = {}
        for row, key in enumerate(keys):
            if key is not None:
                parent[root(row)] = root(first.setdefault(key, row))
    return np.array([root(row) for row in range(len(examples))], dtype=np.int64)


def _strata(examples: Examples, names: Sequence[str]) -> NDArray[np.int64]:
    if not names:
        return np.zeros(len(examples), dtype=np.int64)
    keys = list(zip(*(examples.columns[name] for name in names), strict=True))
    ids = {key: i for i, key in enumerate(sorted(set(keys)))}
    return np.array([ids[key] for key in keys], dtype=np.int64)


def _deal(
    units: NDArray[np.int64], labels: NDArray[np.int64], share: float, seed: int, purpose: str
) -> NDArray[np.int64]:
    order = _order(units, seed, purpose)
    members: dict[int, list[int]] = {}
    for row, unit in enumerate(units):
        members.setdefault(int(unit), []).append(row)
    wanted = _quotas(np.bincount(labels), share)
    held: list[int] = []
    for unit in order:
        counts = np.bincount(labels[members[unit]], minlength=len(wanted))
        # A unit is taken when it brings the held side closer to its quotas than it overshoots them.
        if np.minimum(counts, wanted.clip(min=0)).sum() * 2 > counts.sum():
            wanted -= counts
            held += members[unit]
    return np.sort(np.array(held, dtype=np.int64))


def _quotas(counts: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Rows of each label to hold out: largest remainders, and never the last row of a label."""
    exact = counts * share
    quotas = np.floor(exact).astype(np.int64)
    left = round(counts.sum() * share) - quotas.sum()
    quotas[np.argsort(quotas - exact, kind="stable")[:left]] += 1
    quotas[(quotas == 0) & (counts >= 2)] = 1
    return np.asarray(np.minimum(quotas, np.maximum(counts - 1, 0)))


def _order(units: NDArray[np.int64], seed: int, purpose: str) -> list[int]:
    def rank(unit: int) -> bytes:
        return hashlib.sha256(f"{seed}/{purpose}/{unit}".encode()).digest()

    return sorted({int(unit) for unit in units}, key=rank)
