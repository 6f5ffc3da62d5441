"""The copies among all splits, computed once for the checks that ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tunesmith.checks import CheckedData
from tunesmith.data.examples import Examples
from tunesmith.data.near_copies import Copies, WordSets, word_sets

Matches = Mapping[int, tuple[int, float]]
"""For each row that is a copy: the number of the row that it copies, and how similar they are."""


@dataclass(frozen=True)
class SplitCopies:
    """The copies among the rows of all splits.

    Args:
        splits: rows by split, the training rows first.
    """

    splits: Mapping[str, Examples]

    @cached_property
    def copies(self) -> Copies:
        """All texts; the words of the training rows say which are rare."""
        texts = WordSets.join([word_sets(examples) for examples in self.splits.values()])
        return Copies(texts, known=len(self.splits["train"]))

    @cached_property
    def _starts(self) -> dict[str, int]:
        sizes = [len(examples) for examples in self.splits.values()]
        return dict(zip(self.splits, np.cumsum([0, *sizes]).tolist(), strict=False))

    def within(self, split: str) -> Matches:
        """The rows of a split that copy an earlier row of it."""
        return self._numbered(split, split, self.copies.within(self._rows(split)))

    def between(self, split: str, other: str) -> Matches:
        """The rows of a split that copy a row of another one."""
        return self._numbered(split, other, self.copies.between(self._rows(split), self._rows(other)))

    def is_exact(self, split: str, row: int, other: str, of: int) -> bool:
        """Whether two rows have the same text but for case and white space."""
        exact = self.copies.texts.exact
        return bool(exact[self._starts[split] + row] == exact[self._starts[other] + of])

    def _rows(self, split: str) -> range:
        start = self._starts[split]
        return range(start, start + len(self.splits[split]))

    def _numbered(self, split: str, other: str, found: Matches) -> Matches:
        start, of = self._starts[split], self._starts[other]
        return {row - start: (match - of, similarity) for row, (match, similarity) in found.items()}


def copies_of(data: CheckedData) -> SplitCopies:
    """The copies among the rows of all splits."""
    if "copies" not in data.memo:
        data.memo["copies"] = SplitCopies(data.splits)
    found: SplitCopies = data.memo["copies"]
    return found


def within(data: CheckedData, split: str) -> Matches:
    """The rows of a split that copy an earlier row of it; computed once."""
    name = f"copies within {split}"
    if name not in data.memo:
        data.memo[name] = copies_of(data).within(split)
    found: Matches = data.memo[name]
    return found


def note_of(examples: Examples, of: int, similarity: float, *, is_exact: bool) -> str:
    """What is said of a copy: `the same as train.csv:12`."""
    if is_exact:
        return f"the same text as {examples.row_id(of)}"
    return f"like {examples.row_id(of)} (similarity {similarity:.2f})"
