"""Texts in another language than most, and texts in a language that the model was not made for.

A text counts only where its language is nearly certain (py3langid) and it has enough letters: the language of a
short text is a guess. Of many rows, a sample is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.checks import Check, CheckedData, Finding, FoundRow
from tunesmith.checks._texts import input_texts

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_FEWEST_LETTERS = 40
_READ = 1000
_LETTERS_TOGETHER = 300
_LEAST_PROBABILITY = 0.99
_MOST_ROWS = 10_000
_LEAST_SHARE = 0.005
_FEWEST_ROWS = 3

PROBLEMS = "language problems of the model"
"""Entry of `CheckedData.memo`: why the model seems not to be made for the language of a column, by column."""


def find(data: CheckedData) -> Iterator[Finding]:
    """One finding for each split with texts in several languages, and one for the model."""
    for split in data.splits:
        yield from _find(data, split)
    for column, problem in data.memo.get(PROBLEMS, {}).items():
        yield Finding(
            "languages",
            "warn",
            f"{data.recipe.model} was probably not made for the language of `{column}`: {problem}",
            "Choose a model that was, or a multilingual one (docs/faq.md#other-languages).",
            evidence={"column": column, "problem": problem},
        )


def count_languages(texts: Iterable[str]) -> Counter[str]:
    """How many of some texts are certainly of each language; those too short for that are read several at once.

    Args:
        texts: texts of one column.
    """
    counts: Counter[str] = Counter()
    short: list[str] = []
    for text in texts:
        name = _certain_language(text[:_READ]) if len(text) >= _FEWEST_LETTERS else ""
        short += [] if name else [text[:_READ]]
        if sum(map(len, short)) >= _LETTERS_TOGETHER:
            name, short = _certain_language(" ".join(short)), []
        counts[name] += bool(name)
    return +counts


def language_of(text: str) -> str:
    """The code of the language of a text; empty where it is too short to tell, or not certain."""
    start = text[:_READ]
    return _certain_language(start) if sum(map(str.isalpha, start)) >= _FEWEST_LETTERS else ""


def _certain_language(text: str) -> str:
    """The code of a text's language; empty where it is not certain."""
    name, probability = _identifier().classify(text)
    return str(name) if probability >= _LEAST_PROBABILITY else ""


def _find(data: CheckedData, split: str) -> Iterator[Finding]:
    languages = dict(_languages(data, split))
    counts = Counter(languages.values())
    if len(counts) < 2:
        return
    main = counts.most_common(1)[0][0]
    others = {name: n for name, n in counts.most_common() if name != main and n >= _FEWEST_ROWS}
    n_others = sum(others.values())
    if n_others < max(_FEWEST_ROWS, _LEAST_SHARE * len(languages)):
        return
    listed = ", ".join(f"`{name}` ({n:,})" for name, n in others.items())
    yield Finding(
        "languages",
        "note",
        f"{n_others:,} of {len(languages):,} {split} texts of certain language are not in `{main}`: {listed}",
        "Check that the model knows these languages and that the rows are meant; score them apart by a column of "
        "their language.",
        [FoundRow(split, row, None, f"`{name}`") for row, name in languages.items() if name in others],
        {"split": split, "certain": len(languages), "languages": dict(counts)},
    )


def _languages(data: CheckedData, split: str) -> Iterator[tuple[int, str]]:
    """The rows whose language is certain, with its code."""
    n_rows = len(data.splits[split])
    rng = np.random.default_rng(data.seed)
    chosen = set(rng.choice(n_rows, _MOST_ROWS, replace=False).tolist()) if n_rows > _MOST_ROWS else None
    for row, text in input_texts(data, split):
        if (chosen is None or row in chosen) and (name := language_of(text)):
            yield row, name


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


check = Check("texts in several languages, or in one that the model was not made for", find)
