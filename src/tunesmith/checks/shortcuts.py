"""What gives a label away: a single token, the length or the form of the text, the file, a column.

A model learns such a shortcut instead of the task, and fails where it is absent. What is a shortcut, and what a
word that belongs to the topic, statistics cannot tell. So the rule is narrow. Candidates come from one half of
the rows; all figures come from the other half, so the number of tokens that were tried makes none of them too
good. A token is reported as

- a warning, if 98 % of the rows with it have one label and 85 % of the rows of this label have it; or if it is
  no plain word (`<br>`, `[id]`), or always the end of the text, with 95 % and a third;
- a note, if it is a plain word with 90 % and half: often the topic itself (`contactless` in
  `contactless_not_working`).

Length, punctuation, case, digits, file and column are reported if they alone avoid three tenths of the errors of
the most frequent label. On ten real sets this gave warnings in none, and notes in those of requests and
questions (docs/check.md). The price: a shortcut that concerns fewer rows is not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.checks import Check, CheckedData, Finding, FoundRow
from tunesmith.checks._probing import folds_of
from tunesmith.checks._words import Presence, presence, row_texts

if TYPE_CHECKING:
    import regex

    from tunesmith.data.examples import Examples
    from tunesmith.types import JsonObject

_MOST_ROWS = 50_000
_FEWEST_ROWS, _FEWEST_TEXTS = 100, 10
_CANDIDATES = 5
"""Tokens of each label that are measured on the other half."""
_BINS = 10
_AVOIDED_ERRORS = 0.3
_MOST_SHOWN = 10
_REMEDY = (
    "Find out where it comes from. If it will not be there when the model is used, remove it from the texts, or "
    "balance the labels of the rows that have it."
)
_UNREAD = (
    "Nothing, if {} is a finer label, or holds one label by intention. Else the rows of a label come from one "
    "place, and a model may learn the place."
)
_OF_THE_TEXT = (
    "the length of the text",
    "the share of capital letters",
    "the share of digits",
    "the number of punctuation marks",
    "the last character",
)


@dataclass(frozen=True)
class Given:
    """A token that gives a label away, measured on rows that it was not chosen by.

    Args:
        token: the token.
        label: the label.
        precision: share of the rows with the token that have the label.
        coverage: share of the rows of the label that have the token.
        at_the_end: share of the rows with the token that end with it.
        n: number of rows with the token.
    """

    token: str
    label: str
    precision: float
    coverage: float
    at_the_end: float
    n: int

    @property
    def is_certain(self) -> bool:
        """Whether hardly a word of a topic is like this."""
        is_odd = not _is_plain(self.token) or self.at_the_end >= 0.95
        return self._reaches(0.98, 0.85) or (is_odd and self._reaches(0.95, 1 / 3))

    @property
    def is_notable(self) -> bool:
        """Whether the label hardly needs other words."""
        return self._reaches(0.9, 0.5)

    def _reaches(self, precision: float, coverage: float) -> bool:
        return self.precision >= precision and self.coverage >= coverage

    def __str__(self) -> str:
        return (
            f"`{self.token}` (`{self.label}`: {self.precision:.0%} of the rows with it, and it is in "
            f"{self.coverage:.0%} of its rows)"
        )


def _find(data: CheckedData) -> Iterable[Finding]:
    train = data.splits["train"]
    labels = _labels_of(data)
    if labels is None or len(train) < _FEWEST_ROWS:
        return
    rows = _sample(len(train), data.seed)
    half = folds_of(data.task, train, data.recipe.data.group_by, data.seed, n_folds=2)[rows]
    names, table = labels
    texts = list(row_texts(train, rows.tolist()))
    yield from _tokens(names, table[rows], texts, half, rows)
    if len(names) > 1 and (table.sum(axis=1) == 1).all():
        yield from _single_facts(_facts(texts, train, rows), table[rows].argmax(axis=1), half)


def _sample(n: int, seed: int) -> NDArray[np.int64]:
    if n <= _MOST_ROWS:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, _MOST_ROWS, replace=False))


def _labels_of(data: CheckedData) -> tuple[list[str], NDArray[np.int8]] | None:
    """Names of the labels, and [rows, labels], which row has which; None where rows have no labels."""
    names = list(data.label_schema.get("labels", ()))
    targets = [
        column for column in data.task.columns if column.target and column.kind in ("category", "list")
    ]
    columns = data.splits["train"].columns
    if len(targets) != 1 or targets[0].name not in columns or data.task.outputs_per_token or not names:
        return None
    number = {name: i for i, name in enumerate(names)}
    table = np.zeros((len(data.splits["train"]), len(names)), dtype=np.int8)
    for row, value in enumerate(columns[targets[0].name]):
        for label in value if isinstance(value, (list, tuple)) else [value]:
            table[row, number[label]] = 1
    return names, table


def _tokens(
    names: Sequence[str],
    table: NDArray[np.int8],
    texts: Sequence[str],
    half: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> Iterator[Finding]:
    found = presence(texts, fewest=2 * _FEWEST_TEXTS)
    given = given_away(found, names, table, half)
    certain = [it for it in given if it.is_certain]
    notable = [it for it in given if it.is_notable and not it.is_certain]
    for it, having in _distinct(found, certain)[:_MOST_SHOWN]:
        text = (
            f"the token `{it.token}` alone gives the label `{it.label}`: of the rows with it, {it.precision:.1%} "
            f"have this label, and {it.coverage:.1%} of the rows with this label have it"
        )
        where = [FoundRow("train", int(row)) for row in rows[having]]
        yield Finding("shortcuts", "warn", text, _REMEDY, where, {"token": it.token, **_figures(it)})
    if notable:
        shown = ", ".join(map(str, notable[:_MOST_SHOWN]))
        more = f" and {len(notable) - _MOST_SHOWN} more" if len(notable) > _MOST_SHOWN else ""
        yield Finding(
            "shortcuts",
            "note",
            f"words that alone nearly give a label: {shown}{more}",
            "Nothing, if these words are what the label is about. Else add rows with the word and another label.",
            evidence={"words": [{"token": it.token, **_figures(it)} for it in notable]},
        )


def _distinct(found: Presence, given: Sequence[Given]) -> list[tuple[Given, NDArray[np.int64]]]:
    """Tokens with the texts that have them; of tokens that the same texts have (`<br>`, `br`), the longest."""
    distinct: dict[bytes, tuple[Given, NDArray[np.int64]]] = {}
    for it in given:
        having = np.flatnonzero(found.table[:, found.tokens.index(it.token)].toarray().ravel())
        known = distinct.get(having.tobytes())
        if known is None or len(it.token) > len(known[0].token):
            distinct[having.tobytes()] = (it, having)
    return list(distinct.values())


def _figures(it: Given) -> JsonObject:
    return {
        "label": it.label,
        "precision": it.precision,
        "coverage": it.coverage,
        "at_the_end": it.at_the_end,
        "n": it.n,
    }


def given_away(
    found: Presence, names: Sequence[str], table: NDArray[np.int8], half: NDArray[np.int64]
) -> list[Given]:
    """The tokens that go with a label, the surest first; chosen in half 0, measured in half 1.

    Args:
        found: which row has which token.
        names: names of the labels.
        table: [rows, labels], which row has which label.
        half: [rows], 0 or 1.
    """
    if not found.tokens:
        return []
    choose, measure = np.flatnonzero(half == 0), np.flatnonzero(half == 1)
    association = _association(found.table[choose], table[choose])
    with_token, both, with_label = _counts(found.table[measure], table[measure])
    in_all = np.asarray(found.table.sum(axis=0)).ravel()
    given = []
    for label, name in enumerate(names):
        best = np.argsort(-association[:, label], kind="stable")[:_CANDIDATES]
        given += [
            Given(
                found.tokens[token],
                name,
                float(both[token, label] / with_token[token]),
                float(both[token, label] / with_label[label]),
                float(found.ends[token] / in_all[token]),
                int(in_all[token]),
            )
            for token in best
            if with_token[token] >= _FEWEST_TEXTS and with_label[label] > 0
        ]
    return sorted(given, key=lambda it: (-min(it.precision, it.coverage), it.token))


def _counts(
    table: object, labels: NDArray[np.int8]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Texts with each token, [tokens]; with each token and label, [tokens, labels]; with each label, [labels]."""
    both = np.asarray(table.T @ labels.astype(np.float64))  # type: ignore[attr-defined]
    with_token = np.asarray(table.sum(axis=0), dtype=np.float64).ravel()  # type: ignore[attr-defined]
    return with_token, both, labels.sum(axis=0, dtype=np.float64)


def _association(table: object, labels: NDArray[np.int8]) -> NDArray[np.float64]:
    """[tokens, labels], the correlation of having a token and having a label (phi)."""
    n = len(labels)
    with_token, both, with_label = _counts(table, labels)
    spread = np.outer(with_token * (n - with_token), with_label * (n - with_label))
    return np.where(
        spread > 0,
        (n * both - np.outer(with_token, with_label)) / np.sqrt(np.maximum(spread, 1)),
        -1.0,
    )


def _is_plain(token: str) -> bool:
    return _plain_pattern().fullmatch(token) is not None


def _plain_pattern() -> regex.Pattern:
    import regex

    return regex.compile(r"[\p{L}\p{M}\p{N}'’.\-]+")


def _facts(texts: Sequence[str], train: Examples, rows: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """What is known of each row besides its words, as numbers of groups; of a count, its tenth."""
    measured: list[list[float]] = [
        [len(text) for text in texts],
        [_share(text, str.isupper) for text in texts],
        [_share(text, str.isdigit) for text in texts],
        [sum(not char.isalnum() and not char.isspace() for char in text) for text in texts],
        [_kind(text[-1:]) for text in map(str.strip, texts)],
    ]
    facts = {
        name: _tenths(np.array(values, dtype=np.float64))
        for name, values in zip(_OF_THE_TEXT, measured, strict=True)
    }
    if len(train.files) > 1:
        facts["the file"] = train.file_index[rows].astype(np.int64)
    for name, values in train.extra.items():
        facts[f"the column `{name}`"] = _groups([str(values[row]) for row in rows.tolist()])
    return facts


def _share(text: str, is_one: object) -> float:
    return sum(map(is_one, text)) / max(1, len(text))  # type: ignore[call-overload]


def _kind(last: str) -> int:
    """The kind of a character: letter, digit, or the code of a mark."""
    return 1 if last.isalpha() else 2 if last.isdigit() else ord(last) if last else 0


def _tenths(values: NDArray[np.float64]) -> NDArray[np.int64]:
    borders = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1]))
    return np.searchsorted(borders, values, side="left")


def _groups(values: Sequence[str]) -> NDArray[np.int64]:
    _, numbers = np.unique(np.array(values), return_inverse=True)
    return np.asarray(numbers, dtype=np.int64)


def _single_facts(
    facts: Mapping[str, NDArray[np.int64]], labels: NDArray[np.int64], half: NDArray[np.int64]
) -> Iterator[Finding]:
    for name, groups in facts.items():
        accuracy, majority = accuracy_by_group(groups, labels, half)
        avoided = (accuracy - majority) / (1 - majority) if majority < 1 else 0.0
        if avoided >= _AVOIDED_ERRORS:
            text = (
                f"{name} alone gives the label in {accuracy:.1%} of rows; the most frequent label does in "
                f"{majority:.1%}"
            )
            evidence = {"fact": name, "accuracy": accuracy, "majority": majority, "avoided_errors": avoided}
            # A model does not read files and columns: they are a hint at how labels came about.
            is_read = name in _OF_THE_TEXT
            remedy = _REMEDY if is_read else _UNREAD.format(name)
            yield Finding("shortcuts", "warn" if is_read else "note", text, remedy, evidence=evidence)


def accuracy_by_group(
    groups: NDArray[np.int64], labels: NDArray[np.int64], half: NDArray[np.int64]
) -> tuple[float, float]:
    """How often the most frequent label of a row's group is right, and how often that of all rows is.

    Both labels come from half 0, and the rows from half 1.

    Args:
        groups: [rows], group of each row.
        labels: [rows], label of each row.
        half: [rows], 0 or 1.
    """
    counts = np.zeros((groups.max() + 1, labels.max() + 1), dtype=np.int64)
    learn, measure = half == 0, half == 1
    np.add.at(counts, (groups[learn], labels[learn]), 1)
    overall = counts.sum(axis=0)
    # A group without a row gets the label that is most frequent overall.
    best = np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), overall.argmax())
    right = labels[measure] == best[groups[measure]]
    return float(right.mean()), float((labels[measure] == overall.argmax()).mean())


check = Check("tokens, lengths or columns that give a label away", _find)
