"""Units: which token gives which words their label.

The label of a word is predicted at its first token. Tokens and words may overlap: `McDonald's` is `Mc Donald 's`
for one tokenizer, and `南京` is one token for another. Each word takes its first token that no earlier word has.
Words that are left without a token share their last token, and so its label. Words that share a token are a unit,
and an entity consists of whole units. A word without any token (a sign that the tokenizer drops) is in no unit,
but an entity may cover it between two of its units. A token of the space before a word alone (`Ġ`) says nothing of
the word, so the token after it is the word's first: a tiny RoBERTa that was trained on such tokens (case 13, six
trainings) reached F1 0.90 to 0.95 when they decided, and 1.0 since they do not.

Units are computed over the whole text, even if it is read in windows, so the edge of a window changes no unit.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.tasks import IGNORED
from tunesmith.tasks._tags import Span

if TYPE_CHECKING:
    from transformers import BatchEncoding

Ints = NDArray[np.int64]

NO_WORD_BORDER = "entities (no border of a word)"
NO_TOKEN_BORDER = "entities (a border within a token)"


@dataclass(frozen=True)
class Units:
    """The units of one text.

    Args:
        tokens: [units], token of each unit, counted without special tokens.
        first: [units], first word of each unit, from 0.
        last: [units], last word of each unit.
        continues: [tokens], token whose character a token continues, at the start of the text or after a space;
            else the token itself.
        between: tokens of no word, only of the spaces between words.
    """

    tokens: Ints
    first: Ints
    last: Ints
    continues: Ints
    between: Ints

    @classmethod
    def of(cls, offsets: Ints, bounds: Ints) -> Units:
        """Builds them from the characters of tokens [tokens, 2] and of words [words, 2]."""
        real = np.flatnonzero(offsets[:, 1] > offsets[:, 0])
        starts, ends = offsets[real, 0], offsets[real, 1]
        # Normalisation may change the order within a character; the search needs rising numbers.
        first = np.searchsorted(np.maximum.accumulate(ends), bounds[:, 0], side="right")
        rising = np.minimum.accumulate(starts[::-1])[::-1]
        last = np.searchsorted(rising, bounds[:, 1], side="left") - 1
        words = np.flatnonzero(first <= last)
        chosen = _apart(first[words], last[words])
        begins = np.diff(chosen, prepend=-1) > 0
        ends_here = np.append(begins[1:], True)[: len(begins)]
        continues = np.arange(len(offsets))
        after_blank = np.isin(starts, bounds[bounds[:, 0] > np.append(-1, bounds[:, 1])[:-1], 0])
        continues[real[after_blank]] = real[np.searchsorted(rising, starts[after_blank], side="left")]
        # A token is in its next word, or between words; a space alone may be (7, 7).
        following = np.searchsorted(bounds[:, 1], offsets[:, 0], side="right")
        between = np.flatnonzero(np.append(bounds[:, 0], offsets.max(initial=0))[following] >= offsets[:, 1])
        return cls(real[chosen[begins]], words[begins], words[ends_here], continues, between)

    def on_tokens(self, values: Ints, nothing: int = 0) -> Ints:
        """Values of the units at their tokens [tokens]; `nothing` at other tokens."""
        found = np.full(len(self.continues), nothing, dtype=np.int64)
        found[self.tokens] = values
        return found

    def labels(self, tags: Ints, inside: Ints) -> Ints:
        """The tags of the units as labels of tokens; `IGNORED` for tokens without a label.

        The pipeline of transformers takes every token after a space for a word, so the tokens that continue the
        first character of a word (the bytes of an emoji, for example) and those of spaces alone are labelled too.
        A space is inside an entity if the words on both sides of it are.

        Args:
            tags: [units], tag of each unit.
            inside: [labels], tag for the inside of an entity, for each tag; 0 for the tag of no entity.
        """
        labels = self.on_tokens(tags, IGNORED)
        before = labels[self.continues]
        follows = (labels == IGNORED) & (before != IGNORED)
        labels[follows] = inside[before[follows]]
        after = np.append(tags, 0)[np.searchsorted(self.tokens, self.between)]
        labels[self.between] = np.where(after == inside[after], after, 0)
        return labels


def _apart(first: Ints, last: Ints) -> Ints:
    """A token from `first` to `last` for each word, and if possible not that of the word before."""
    if (np.diff(first) > 0).all():
        return first
    chosen, before = [], -1
    for one, other in zip(first.tolist(), last.tolist(), strict=True):
        before = min(other, max(one, before + 1))
        chosen.append(before)
    return np.array(chosen, dtype=np.int64)


@dataclass(frozen=True)
class Tags:
    """The tags of the units of a text.

    Args:
        units: [units], id of each unit's label.
        off_words: number of entities that begin or end within a word.
        off_tokens: number of other entities that begin or end within a unit, or at a word without a token.
    """

    units: Ints
    off_words: int
    off_tokens: int


def tags_of(units: Units, bounds: Ints, entities: Sequence[Span], ids: dict[str, int]) -> Tags:
    """The tags of entities; an entity within units is extended to whole units."""
    starts, ends = bounds[units.first, 0].tolist(), bounds[units.last, 1].tolist()
    word_starts, word_ends = map(set, bounds.T.tolist() if entities else ([], []))
    tags = np.zeros(len(starts), dtype=np.int64)
    off_words = off_tokens = 0
    for start, end, label in entities:
        a, b = bisect_right(ends, start), bisect_left(starts, end)
        if start not in word_starts or end not in word_ends:
            off_words += 1
        elif a >= b or starts[a] != start or ends[b - 1] != end:
            off_tokens += 1
        tags[a:b] = ids[f"I-{label}"]
        tags[a : min(a + 1, b)] = ids[f"B-{label}"]
    return Tags(tags, off_words, off_tokens)


@dataclass(frozen=True)
class Windows:
    """The sequences of a batch of texts, in relation to their texts.

    Args:
        rows: [sequences], text of each sequence.
        first: [sequences], first token of each, counted over its text without special tokens.
        before: [sequences], number of special tokens before it.
        sizes: [sequences], number of tokens without special tokens.
        lengths: [sequences], number of tokens.
        offsets: characters of the tokens of each text, without special tokens, [tokens, 2].
    """

    rows: list[int]
    first: list[int]
    before: list[int]
    sizes: list[int]
    lengths: list[int]
    offsets: list[Ints]

    @classmethod
    def of(cls, encoded: BatchEncoding, n_rows: int, shared: int) -> Windows:
        """Builds them from the result of a tokenizer with offsets and a mask of special tokens.

        Args:
            encoded: sequences from the tokenizer.
            n_rows: number of texts.
            shared: number of tokens that two windows of a text share.
        """
        rows = list(encoded["overflow_to_sample_mapping"])
        found = [
            _without_special(o, m)
            for o, m in zip(encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True)
        ]
        of_row: list[list[int]] = [[] for _ in range(n_rows)]
        for sequence, row in enumerate(rows):
            of_row[row].append(sequence)
        first, offsets = [0] * len(rows), []
        for sequences in of_row:
            # A tokenizer that truncates on the left returns the last window first.
            sequences.sort(key=lambda sequence: found[sequence][0][:1].tolist())
            at, parts = 0, [found[sequences[0]][0]]
            for one, other in pairwise(sequences):
                at += len(found[one][0]) - shared
                first[other] = at
                parts.append(found[other][0][shared:])
            offsets.append(parts[0] if len(parts) == 1 else np.concatenate(parts))
        sizes = [len(part) for part, _ in found]
        lengths = [len(mask) for mask in encoded["special_tokens_mask"]]
        return cls(rows, first, [before for _, before in found], sizes, lengths, offsets)

    def spread(self, values: Sequence[Ints], nothing: int) -> list[Ints]:
        """Values of each text's tokens [tokens], as values of each sequence's tokens; `nothing` at special tokens.

        If windows share a token, only the window in which it is furthest from an edge has its value.
        """
        spread = []
        for row, start, before, size, length in zip(
            self.rows, self.first, self.before, self.sizes, self.lengths, strict=True
        ):
            found = np.full(length, nothing, dtype=np.int64)
            found[before : before + size] = values[row][start : start + size]
            spread.append(found)
        self._leave_best(spread, nothing)
        return spread

    def _leave_best(self, values: list[Ints], nothing: int) -> None:
        of_row: dict[int, list[int]] = {}
        for sequence, row in enumerate(self.rows):
            of_row.setdefault(row, []).append(sequence)
        for sequences in of_row.values():
            if len(sequences) > 1:
                self._leave_best_of([values[s] for s in sequences], sequences, nothing)

    def _leave_best_of(self, values: list[Ints], sequences: list[int], nothing: int) -> None:
        places = [np.flatnonzero(found != nothing) for found in values]
        token = np.concatenate(
            [at - self.before[s] + self.first[s] for at, s in zip(places, sequences, strict=True)]
        )
        room = np.concatenate(
            [np.minimum(at, len(found) - 1 - at) for at, found in zip(places, values, strict=True)]
        )
        window = np.repeat(np.arange(len(places)), list(map(len, places)))
        order = np.lexsort((window, -room, token))
        best = np.zeros(len(order), dtype=bool)
        best[order[np.flatnonzero(np.diff(token[order], prepend=-1))]] = True
        for number, (found, at) in enumerate(zip(values, places, strict=True)):
            found[at[~best[window == number]]] = nothing


def _without_special(offsets: Sequence[tuple[int, int]], mask: Sequence[int]) -> tuple[Ints, int]:
    """The characters of the tokens that are not special, and the number of special tokens before them."""
    usual = np.flatnonzero(np.array(mask) == 0)
    before = int(usual[0]) if len(usual) else 0
    return np.array(offsets, dtype=np.int64).reshape(-1, 2)[usual], before
