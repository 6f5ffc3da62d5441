"""The words of rows, as a table of which row has which.

A text's tokens are its words, and what stands between spaces without the punctuation at its ends: `<br>`, `#sad`
and `[A]` are tokens besides `br`, `sad` and `a`. Upper and lower case are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.segmentation import words

if TYPE_CHECKING:
    from tunesmith.data.examples import Examples

_ENDS = ".,!?;:'\"()“”‘’…。、！？"


@dataclass(frozen=True)
class Presence:
    """Which text has which token.

    Args:
        tokens: tokens, in the order of the columns.
        table: sparse [texts, tokens], 1 where a text has a token.
        ends: [tokens], number of texts that end with the token.
    """

    tokens: Sequence[str]
    table: Any
    ends: NDArray[np.int64]


def row_texts(examples: Examples, rows: Iterable[int], columns: Sequence[str] | None = None) -> Iterator[str]:
    """What is read of each row, as one text.

    Args:
        examples: rows.
        rows: numbers of the rows.
        columns: names of the columns; None takes the inputs that hold text.
    """
    names = columns or examples.inputs
    for row in rows:
        yield "\n".join(part for name in names for part in spoken(examples.columns[name][row]))


def spoken(value: object) -> Iterator[str]:
    """The texts of a value: itself, those of a list, or the contents of messages.

    Args:
        value: of a cell.
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from spoken(value.get("content"))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from spoken(part)


def tokens_of(text: str) -> list[str]:
    """The tokens of a text, in order; what stands between spaces follows the words.

    Args:
        text: a text.
    """
    lower = text.casefold()
    stripped = (chunk.strip(_ENDS) for chunk in lower.split())
    return [*words(lower), *(chunk for chunk in stripped if chunk)]


def presence(texts: Iterable[str], *, fewest: int) -> Presence:
    """Which text has which token.

    Args:
        texts: texts.
        fewest: texts that a token must be in.
    """
    from scipy import sparse

    numbers: dict[str, int] = {}
    columns: list[int] = []
    starts = [0]
    last: list[int] = []
    for text in texts:
        found = tokens_of(text)
        columns.extend({numbers.setdefault(token, len(numbers)) for token in found})
        starts.append(len(columns))
        last.append(numbers[found[-1]] if found else -1)
    shape = (len(starts) - 1, len(numbers))
    table = sparse.csr_matrix((np.ones(len(columns), dtype=np.float32), columns, starts), shape=shape)
    ends = np.bincount([token for token in last if token >= 0], minlength=len(numbers))
    counts = np.asarray(table.sum(axis=0)).ravel()
    names = list(numbers)
    # In the order of the alphabet: the order of the rows must not show in what is found.
    frequent = sorted(np.flatnonzero(counts >= fewest).tolist(), key=names.__getitem__)
    return Presence([names[token] for token in frequent], table[:, frequent], ends[frequent])


def log_odds(
    one: NDArray[np.float64], n_one: int, other: NDArray[np.float64], n_other: int
) -> NDArray[np.float64]:
    """[tokens], how many standard errors the log-odds of each token differ between two sets of texts.

    With a prior of the size of half a text at the shared rate (after Monroe et al. 2008, "Fightin' Words").

    Args:
        one: [tokens], texts of the first set with each token.
        n_one: number of texts of the first set.
        other: [tokens], texts of the second set with each token.
        n_other: number of texts of the second set.
    """
    prior = (one + other + 0.5) / (n_one + n_other + 1)
    with_one, with_other = one + prior, other + prior
    without_one, without_other = n_one - one + 1 - prior, n_other - other + 1 - prior
    difference = np.log(with_one / without_one) - np.log(with_other / without_other)
    variance = 1 / with_one + 1 / without_one + 1 / with_other + 1 / without_other
    return np.asarray(difference / np.sqrt(variance))
