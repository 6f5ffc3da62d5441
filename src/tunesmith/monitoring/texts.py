"""What texts are like without a model: their words, their language, and which words training did not have.

The vocabulary has the words of at least `FEWEST_TEXTS` training texts, each with the share of texts that have it.
Rarer words are often names, and are not kept. The vector of a text says which of the 256 most frequent words it
has: with more words, or with rare words counting more, drift in reviews was seen less.

Texts are read with personal data replaced, here and in the reference, since the prediction log keeps them so.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.checks._words import spoken, tokens_of
from tunesmith.checks.languages import language_of
from tunesmith.data.personal import redacted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.tasks import Values

DIMENSIONS = 256
FEWEST_TEXTS = 5
MOST_WORDS = 20_000
MOST_TEXTS = 5_000
"""Training texts from which the vocabulary is made."""
_READ_CHARACTERS = 20_000


@dataclass(frozen=True)
class Vocabulary:
    """The words of the training texts.

    Args:
        shares: share of the training texts with each word, the most frequent first.
        n_texts: number of texts that were read.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    n_texts: int = 0

    @classmethod
    def of(cls, texts: Iterable[str]) -> Vocabulary:
        """The words of some texts."""
        counts: Counter[str] = Counter()
        n_texts = 0
        for text in texts:
            counts.update(set(tokens_of(text)))
            n_texts += 1
        frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_WORDS]
        return cls({word: n / n_texts for word, n in frequent if n >= FEWEST_TEXTS}, n_texts)

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {word: place for place, word in enumerate(itertools.islice(self.shares, DIMENSIONS))}

    def vector(self, words: set[str]) -> NDArray[np.float32]:
        """[k], the vector of a text with these words; its length is 1, or 0 without a frequent word."""
        found = np.zeros(DIMENSIONS, dtype=np.float32)
        found[[self._places[word] for word in words if word in self._places]] = 1.0
        return found / max(float(np.linalg.norm(found)), 1.0)


@dataclass(frozen=True)
class TextFacts:
    """What some texts are like.

    Args:
        words: [texts, k], vectors of their words.
        unknown_words: [texts], share of their words that are not in the vocabulary; NaN without a word.
        languages: [texts], code of the language; empty where it is not certain.
    """

    words: NDArray[np.float32]
    unknown_words: NDArray[np.float64]
    languages: list[str]

    @classmethod
    def of(cls, texts: Sequence[str], vocabulary: Vocabulary) -> TextFacts:
        """Those of texts with personal data replaced."""
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        unknown = np.full(len(texts), np.nan)
        for row, text in enumerate(texts):
            words = set(tokens_of(text))
            vectors[row] = vocabulary.vector(words)
            if words:
                unknown[row] = sum(word not in vocabulary.shares for word in words) / len(words)
        return cls(vectors, unknown, [language_of(text) for text in texts])


def text_of_row(row: Values, inputs: Sequence[str]) -> str:
    """What the model reads of a row, as one text with personal data replaced.

    Args:
        row: values by column.
        inputs: names of the columns that are read.
    """
    parts = [part for name in inputs for part in spoken(row.get(name))]
    return redacted("\n".join(parts)[:_READ_CHARACTERS])


def without_personal(value: Any) -> Any:
    """A value of a row with personal data replaced, as the prediction log keeps it."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {key: without_personal(item) for key, item in value.items()}
    return [without_personal(item) for item in value] if isinstance(value, list | tuple) else value


def telling_words(
    texts: Sequence[str], vocabulary: Vocabulary, *, least: float
) -> list[tuple[str, float, float]]:
    """The words that tell some texts from the training texts: each with its share here and there.

    Words that are more frequent here come first, the most telling one first; those that are rarer come last, the
    most telling one last.

    Args:
        texts: texts with personal data replaced.
        vocabulary: of the training texts.
        least: standard errors between the shares from which a word is told.
    """
    if not texts or not vocabulary.n_texts:
        return []
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(tokens_of(text)))
    words = sorted({*counts, *vocabulary.shares})
    here = np.array([counts[word] / len(texts) for word in words])
    there = np.array([vocabulary.shares.get(word, 0.0) for word in words])
    n, n_there = len(texts), vocabulary.n_texts
    pooled = (here * n + there * n_there) / (n + n_there)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / n_there))
    z = (here - there) / np.maximum(error, 1e-12)
    order = [i for i in np.argsort(-z, kind="stable").tolist() if abs(z[i]) >= least]
    return [(words[i], float(here[i]), float(there[i])) for i in order]
