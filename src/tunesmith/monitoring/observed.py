"""Rows as the statistics read them: vectors, answers and numbers, each known for some rows and not for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.encoded import Ragged

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBERS = (
    "score", "correct", "gold", "abstained", "out_of_scope", "tokens", "unknown_words", "number", "written",
    "at",
)  # fmt: skip
"""What is known of a row as a number, NaN where it is not: the score of its answer; whether the answer is right;
the code of the true label; whether the model abstained; whether the text is out of scope; its tokens; the share of
its words that are not in the vocabulary; an answer that is a number; the tokens of an answer that is a text; the
time."""


@dataclass(frozen=True)
class Observed:
    """Rows, and what is known of them.

    Args:
        n: number of rows.
        numbers: [rows] each, by a name of `NUMBERS`; one that is absent is unknown for every row.
        vectors: [rows, d], what the head reads of a text; None where the model has no such vector.
        words: [rows, k], vectors from the words alone; None where the texts are not at hand.
        answers: the codes of the labels of each answer; None where answers are no labels, or unknown.
        languages: [rows], the code of the language, empty where it is not certain; empty without texts.
        texts: [rows], for examples; empty where they are not at hand, as in the reference.
        names: [rows], where each row is: `new.csv:17`, or the id of an answer; may be empty.
    """

    n: int
    numbers: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    vectors: NDArray[np.float32] | None = None
    words: NDArray[np.float32] | None = None
    answers: Ragged | None = None
    languages: Sequence[str] = ()
    texts: Sequence[str] = ()
    names: Sequence[str] = ()

    def __len__(self) -> int:
        return self.n

    def number(self, name: str) -> NDArray[np.float64]:
        """[rows], a number of each row; NaN where it is unknown."""
        found = self.numbers.get(name)
        return np.full(self.n, np.nan) if found is None else found

    def known(self, name: str) -> NDArray[np.float64]:
        """The numbers of the rows for which it is known."""
        found = self.number(name)
        return found[~np.isnan(found)]

    def counts(self, n_labels: int) -> NDArray[np.float64] | None:
        """[rows, labels], how often each answer has each label; the last column is any other label."""
        if self.answers is None:
            return None
        table = np.zeros((self.n, n_labels + 1))
        rows = np.repeat(np.arange(self.n), self.answers.lengths)
        np.add.at(table, (rows, np.minimum(self.answers.values, n_labels)), 1.0)
        return table

    def take(self, rows: NDArray[np.int64]) -> Observed:
        """Some of the rows, in the given order."""

        def some(values: Sequence[str]) -> Sequence[str]:
            return [values[row] for row in rows] if values else ()

        return replace(
            self,
            n=len(rows),
            numbers={name: values[rows] for name, values in self.numbers.items()},
            vectors=None if self.vectors is None else self.vectors[rows],
            words=None if self.words is None else self.words[rows],
            answers=None if self.answers is None else self.answers.take(rows),
            languages=some(self.languages),
            texts=some(self.texts),
            names=some(self.names),
        )

    @classmethod
    def join(cls, parts: Sequence[Observed]) -> Observed:
        """The rows of all parts; what one part does not know as a whole is unknown of all, numbers excepted."""
        if len(parts) == 1:
            return parts[0]
        names = {name for part in parts for name in part.numbers}
        return cls(
            sum(part.n for part in parts),
            {name: np.concatenate([part.number(name) for part in parts]) for name in sorted(names)},
            _joined([part.vectors for part in parts]),
            _joined([part.words for part in parts]),
            _joined_answers([part.answers for part in parts]),
            *(
                [value for part in parts for value in getattr(part, name)]
                if all(len(getattr(part, name)) == part.n for part in parts)
                else ()
                for name in ("languages", "texts", "names")
            ),
        )


def _joined(parts: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def _joined_answers(parts: Sequence[Ragged | None]) -> Ragged | None:
    known = [part for part in parts if part is not None]
    return Ragged.join(known) if len(known) == len(parts) else None
