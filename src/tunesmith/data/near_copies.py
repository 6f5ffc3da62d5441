"""Texts that are nearly the same: a word changed, left out or added, other case, other punctuation.

Two texts are compared by the words that they share, each weighed by its information, log2(texts / texts with the
word). Their similarity is the weighed Jaccard index: the bits that they share, over the bits that either has. So
"What is the capital of Peru?" is no copy of "What is the capital of Chad?": what they share says little. Texts
that have several parts (a question and its context) are as similar as their least similar part.

How similar a copy must be depends on the data. In most data, two texts that share six tenths of their information
are copies. Where many texts follow templates or say the same thing in other words, rows that were written
independently are as similar as that; there, more is asked (`LEVELS`). `benchmarks/trust-check.md` has the
measurements.

Candidates are found by MinHash: in each of 20 bands, three samples of the words, drawn in proportion to their
information (exponential variables, as in Moulton and Jiang 2018, arXiv 1809.04052). Texts of similarity 0.6 share
a band with probability 0.99. Each candidate is then compared exactly. A bucket keeps at most 8 texts to compare
with, so the work grows with the number of texts. datasketch has the same method with Python objects for every
bucket: a million texts would take 5 GB there, and 0.4 GB here.

Of more than 128 distinct words, a text is represented by those with the smallest hashes, which sample both texts
of a comparison in the same way (Broder 1997).
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.examples import Examples
from tunesmith.data.splits import normalised, text_keys
from tunesmith.encoded import Ragged
from tunesmith.segmentation import words
from tunesmith.tasks._values import strings

if TYPE_CHECKING:
    from tunesmith.types import Array

_PART_SHIFT = np.uint32(30)
_BANDS, _SAMPLES = 20, 3
_MOST_WORDS = 128
_MOST_IN_BUCKET = 8
_SAMPLED_TEXTS = 2000
_ALIKE_SHARE = 0.025
_BELOW = 0.15
_ASCII_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Level:
    """What two texts must have in common to count as copies.

    Args:
        similarity: least similarity, 0 to 1.
        bits: least information that they share.
    """

    similarity: float
    bits: float


LEVELS = (Level(0.6, 12), Level(0.6, 20), Level(0.6, 30), Level(0.6, 40), Level(0.7, 50), Level(0.9, 60))
"""From the most to the least permissive."""

SAME_WORDS_BITS = 12.0
"""Least information of texts that have the same words in the same order."""


@dataclass(frozen=True)
class WordSets:
    """The distinct words of texts, as hashes.

    Args:
        words: [items], hash of each word, its part of the row in the upper two bits; in rising order in a text.
        offsets: [texts + 1], start of each text in `words`.
        keys: [texts], equal for texts that have the same words in the same order.
        exact: [texts], equal for texts that are the same after `normalised`.
    """

    words: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    keys: NDArray[np.uint64]
    exact: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.keys)

    def of(self, text: int) -> set[int]:
        """The words of a text."""
        return set(self.words[self.offsets[text] : self.offsets[text + 1]].tolist())

    def take(self, texts: NDArray[np.int64]) -> WordSets:
        """The given texts, in the given order."""
        words = Ragged(self.words, self.offsets).take(texts)
        return WordSets(words.values, words.offsets, self.keys[texts], self.exact[texts])

    @classmethod
    def join(cls, parts: Sequence[WordSets]) -> WordSets:
        """The parts joined, one after the other."""
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        words, keys, exact = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("words", "keys", "exact")
        )
        return cls(words, offsets, keys, exact)


def word_sets(examples: Examples) -> WordSets:
    """The words of the inputs of each row."""
    columns = [examples.columns[name] for name in examples.inputs]
    hashes: dict[str, int] = {}
    keys = np.empty(len(examples), dtype=np.uint64)
    parts, lengths = [np.empty(0, dtype=np.uint32)], [0]
    for row, values in enumerate(zip(*columns, strict=True)):
        found = [_words_of(" ".join(strings(value))) for value in values]
        keys[row] = _key_of(found, values)
        sets = [_hashed(part, number, hashes) for number, part in enumerate(found)]
        parts.append(np.concatenate(sets))
        lengths.append(len(parts[-1]))
    return WordSets(np.concatenate(parts), np.cumsum(lengths), keys, text_hashes(examples))


def text_hashes(examples: Examples) -> NDArray[np.uint64]:
    """[rows], a hash of each row's inputs; rows whose inputs are equal after `normalised` have equal hashes.

    A hash is 64 bits of the key by which `splits` finds duplicates. Two different texts among a million and a
    million others share a hash with a probability of 5e-8.
    """
    return np.frombuffer(text_keys(examples).tobytes(), dtype="<u8")[::2].astype(np.uint64)


def _words_of(text: str) -> list[str]:
    """The words of a text without case and punctuation; of scripts without spaces, pairs of characters."""
    text = normalised(text)
    if text.isascii():
        return _ASCII_WORD.findall(text)
    found = [word for word in words(text) if word[0].isalnum()]
    return list(_paired(found))


def _paired(found: Sequence[str]) -> Iterator[str]:
    """Words, of which each single character outside ASCII is joined with the one after it."""
    for number, word in enumerate(found):
        after = found[number + 1] if number + 1 < len(found) else ""
        is_character = len(word) == 1 and not word.isascii()
        yield word + after if is_character and len(after) == 1 and not after.isascii() else word


def _key_of(found: Sequence[Sequence[str]], values: Sequence[object]) -> int:
    whole = "\0".join(" ".join(part) for part in found)
    if not whole.strip("\0"):  # signs alone
        whole = "\1".join(" ".join(strings(value)) for value in values)
    digest = hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _hashed(found: Sequence[str], part: int, hashes: dict[str, int]) -> NDArray[np.uint32]:
    """The distinct words of a part as sorted hashes; of many, those with the smallest."""
    for word in found:
        if word not in hashes:
            hashes[word] = zlib.crc32(word.encode("utf-8", "surrogatepass")) >> 2
    distinct = np.array(sorted({hashes[word] for word in found})[:_MOST_WORDS], dtype=np.uint32)
    return distinct | (np.uint32(min(part, 3)) << _PART_SHIFT)


class Copies:
    """Finds texts that are nearly the same among some texts.

    Args:
        texts: words of the texts.
        known: number of the first texts, in which words are counted; all of them without it.
        level: what makes a copy; chosen by the first texts without it.
    """

    def __init__(self, texts: WordSets, *, known: int | None = None, level: Level | None = None) -> None:
        self.texts = texts
        self._known = len(texts) if known is None else known
        self._buckets = _buckets(texts, self._items, self._bits)
        self.level = level or self._choose_level()

    @cached_property
    def _vocabulary(self) -> tuple[NDArray[np.uint32], NDArray[np.float32], NDArray[np.int64]]:
        """The distinct words in order, the information of each in bits, and each item as a number of a word."""
        first = np.unique(self.texts.keys[: self._known], return_index=True)[1]
        is_counted = np.zeros(len(self.texts), dtype=bool)
        is_counted[first] = True
        vocabulary, items = np.unique(self.texts.words, return_inverse=True)
        counts = np.bincount(
            items[np.repeat(is_counted, np.diff(self.texts.offsets))], minlength=len(vocabulary)
        )
        bits = np.log2((len(first) + 1) / (counts + 1)).astype(np.float32)
        return vocabulary, bits, items

    @property
    def _items(self) -> NDArray[np.int64]:
        return self._vocabulary[2]

    @property
    def _bits(self) -> NDArray[np.float32]:
        return self._vocabulary[1]

    @cached_property
    def _weights(self) -> dict[int, float]:
        vocabulary, bits, _ = self._vocabulary
        return dict(zip(vocabulary.tolist(), bits.tolist(), strict=True))

    def within(self, rows: Sequence[int] | Array) -> dict[int, tuple[int, float]]:
        """For each text that is nearly the same as an earlier one of the same rows: that one, and the similarity.

        The earlier text is one that is no copy itself, so taking all the copies out leaves no copies.
        """
        found: dict[int, tuple[int, float]] = {}
        shelves = _Shelves(self)
        for row in rows:
            match = shelves.match(int(row))
            if match is not None:
                found[int(row)] = match
            else:
                shelves.put(int(row))
        return found

    def between(
        self, rows: Sequence[int] | Array, others: Sequence[int] | Array
    ) -> dict[int, tuple[int, float]]:
        """For each of the rows that is nearly the same as one of the others: the most similar, and how similar."""
        shelves = _Shelves(self)
        for other in others:
            shelves.put(int(other))
        matches = ((int(row), shelves.match(int(row))) for row in rows)
        return {row: match for row, match in matches if match is not None}

    def similarity(self, one: int, other: int, least_bits: float = 0.0) -> tuple[float, float]:
        """The similarity of two texts, and the bits that they share; not computed, but 0, where these are few."""
        a, b = self.texts.of(one), self.texts.of(other)
        a, b = _same_sample(a, b)
        shared = self._sum(a & b)
        if shared < least_bits:
            return 0.0, shared
        found = shared / max(self._sum(a | b), 1e-9)
        if found >= LEVELS[0].similarity - _BELOW:
            found = min([found, *self._parts(a, b)])
        return found, shared

    def is_copy(self, one: int, other: int) -> float | None:
        """How similar two texts are, if one is a copy of the other."""
        if self.texts.exact[one] == self.texts.exact[other]:
            return 1.0
        found, shared = self.similarity(one, other, LEVELS[0].bits)
        if self.texts.keys[one] == self.texts.keys[other]:
            return 1.0 if shared >= SAME_WORDS_BITS else None
        return found if found >= self.level.similarity and shared >= self.level.bits else None

    def _parts(self, a: set[int], b: set[int]) -> Iterator[float]:
        """The similarity of each part, where there are several."""
        numbers = {word >> 30 for word in a | b}
        for number in numbers if len(numbers) > 1 else ():
            one, other = ({word for word in side if word >> 30 == number} for side in (a, b))
            yield self._sum(one & other) / max(self._sum(one | other), 1e-9)

    def _sum(self, some: set[int]) -> float:
        weights = self._weights
        return sum(weights[word] for word in sorted(some))

    def _choose_level(self) -> Level:
        """The first level just below which at most 2.5 % of the texts have another that resembles them."""
        _, first = np.unique(self.texts.keys[: self._known], return_index=True)
        first = np.sort(first)
        chosen = first[:: max(1, len(first) // _SAMPLED_TEXTS)]
        shelves = _Shelves(self)
        for row in first:
            shelves.put(int(row))
        found = [list(shelves.resembling(int(row))) for row in chosen]
        for level in LEVELS[:-1]:
            least = level.similarity - _BELOW
            alike = sum(
                any(least <= similarity < level.similarity and bits >= level.bits for similarity, bits in one)
                for one in found
            )
            if alike <= _ALIKE_SHARE * len(chosen):
                return level
        return LEVELS[-1]

    def buckets_of(self, row: int) -> list[int]:
        """The buckets that a text shares with others."""
        found: list[int] = self._buckets[row].tolist()
        return [bucket for bucket in found if bucket >= 0]


class _Shelves:
    """Texts to compare with, by bucket.

    Args:
        copies: all texts.
    """

    def __init__(self, copies: Copies) -> None:
        self.copies = copies
        self._of: dict[int, list[int]] = {}
        self._exact: dict[int, int] = {}
        self._same: dict[int, int] = {}

    def put(self, row: int) -> None:
        """Adds a text; of those with the same words in the same order, the first is compared with others."""
        self._exact.setdefault(int(self.copies.texts.exact[row]), row)
        if self._same.setdefault(int(self.copies.texts.keys[row]), row) != row:
            return
        for bucket in self.copies.buckets_of(row):
            there = self._of.setdefault(bucket, [])
            if len(there) < _MOST_IN_BUCKET:
                there.append(row)

    def match(self, row: int) -> tuple[int, float] | None:
        """The text that is most similar to another one, if it is a copy."""
        texts = self.copies.texts
        for same in (self._exact.get(int(texts.exact[row])), self._same.get(int(texts.keys[row]))):
            if same is not None and self.copies.is_copy(row, same) is not None:
                return same, 1.0
        best: tuple[int, float] | None = None
        for other in self._candidates(row):
            found = self.copies.is_copy(row, other)
            if found is not None and (best is None or found > best[1]):
                best = other, found
        return best

    def resembling(self, row: int) -> Iterator[tuple[float, float]]:
        """The similarity of each candidate, and the bits that it shares."""
        for other in self._candidates(row):
            if other != row:
                yield self.copies.similarity(row, other, LEVELS[0].bits)

    def _candidates(self, row: int) -> list[int]:
        return sorted({other for bucket in self.copies.buckets_of(row) for other in self._of.get(bucket, ())})


def _same_sample(a: set[int], b: set[int]) -> tuple[set[int], set[int]]:
    """Two sets of words; if one is a sample of smallest hashes, only what both would have sampled."""
    if max(len(a), len(b)) < _MOST_WORDS:
        return a, b
    full = [side for side in (a, b) if len(side) >= _MOST_WORDS]
    most = min(max(side) for side in full)
    return ({word for word in side if word <= most} for side in (a, b))  # type: ignore[return-value]


def _buckets(texts: WordSets, items: NDArray[np.int64], bits: NDArray[np.float32]) -> NDArray[np.int32]:
    """[texts, bands], the number of the bucket of a text in each band; -1 where no other text is in it."""
    found = np.full((len(texts), _BANDS), -1, dtype=np.int32)
    is_empty = np.diff(texts.offsets) == 0
    if is_empty.all():
        return found
    starts = texts.offsets[:-1][~is_empty]
    vocabulary = np.unique(texts.words)
    n_buckets = 0
    for band in range(_BANDS):
        key = np.zeros(len(starts), dtype=np.uint64)
        for sample in range(_SAMPLES):
            drawn = _draw(vocabulary, bits, band * _SAMPLES + sample)
            least = np.minimum.reduceat(drawn[items], starts)
            key = _mixed(key ^ least.view(np.uint32).astype(np.uint64))
        _, number, counts = np.unique(key, return_inverse=True, return_counts=True)
        shared = np.cumsum(counts > 1) - 1 + n_buckets
        found[~is_empty, band] = np.where(counts[number] > 1, shared[number], -1)
        n_buckets += int((counts > 1).sum())
    return found


def _draw(vocabulary: NDArray[np.uint32], bits: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """[words], an exponential variable for each word, whose rate is the information of the word."""
    mixed = _mixed(vocabulary.astype(np.uint64) + np.uint64((seed + 1) << 32))
    uniform = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53
    return np.asarray(-np.log(uniform) / np.maximum(bits, 1e-3), dtype=np.float32)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The last step of SplitMix64: every bit of the result depends on every bit of the value."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
