"""Texts that are longer than what the model reads, or than what models usually read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tunesmith.checks import Check, CheckedData, Finding, FoundRow
from tunesmith.checks._texts import input_texts

_USUAL_WORDS = 350
"""About 512 tokens, which many models read."""
_WARN_SHARE = 0.01


def find(data: CheckedData) -> Iterator[Finding]:
    """What the model cuts, where it is known; else the texts that many models would cut."""
    for split in data.splits:
        if split in data.truncation:
            yield from _cut(data, split)
        else:
            yield from _long(data, split)


def _cut(data: CheckedData, split: str) -> Iterator[Finding]:
    report, n_rows = data.truncation[split], len(data.splits[split])
    lost = {what: {"lost": gone, "of": of} for what, (gone, of) in report["lost"].items() if gone}
    if not report["rows_cut"] and not report["rows_without"] and not lost:
        return
    said = [
        f"{report['rows_cut']:,} of {n_rows:,} {split} texts are longer than the model reads, and are cut"
    ]
    said += [f"{it['lost']:,} of {it['of']:,} {what} are lost" for what, it in lost.items()]
    yield Finding(
        "length",
        "warn" if report["rows_cut"] + report["rows_without"] >= _WARN_SHARE * n_rows else "note",
        "; ".join(said),
        "Choose a model that reads longer texts, a larger `data.max_length`, or shorten the texts.",
        _longest(data, split, report["rows_cut"]),
        {"split": split, "rows": n_rows, "rows_cut": report["rows_cut"], "lost": lost},
    )


def _long(data: CheckedData, split: str) -> Iterator[Finding]:
    n_words = _words(data, split)
    n_long = int((n_words > _USUAL_WORDS).sum())
    if not n_long:
        return
    yield Finding(
        "length",
        "note",
        f"{n_long:,} of {len(n_words):,} {split} texts have more than {_USUAL_WORDS} words, and models that read "
        "512 tokens cut them",
        "`tunesmith check` without `--fast` says what the model of the recipe cuts.",
        _longest(data, split, n_long),
        {
            "split": split,
            "rows": len(n_words),
            "long": n_long,
            "median_words": float(np.median(n_words)),
            "most_words": int(n_words.max()),
        },
    )


def _words(data: CheckedData, split: str) -> NDArray[np.int64]:
    counts = (len(text.split()) for _, text in input_texts(data, split))
    return np.fromiter(counts, dtype=np.int64, count=len(data.splits[split]))


def _longest(data: CheckedData, split: str, n: int) -> list[FoundRow]:
    """The longest texts."""
    n_words = _words(data, split)
    order = np.argsort(-n_words, kind="stable")[:n]
    return [FoundRow(split, int(row), float(n_words[row]), f"{n_words[row]:,} words") for row in order]


check = Check("texts that are longer than the model reads", find)
