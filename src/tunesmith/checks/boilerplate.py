"""Words with which many different texts begin or end: a greeting, a signature, a legal notice, a prompt.

They take tokens from what matters, and where they differ between labels or splits, they are learned instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tunesmith.checks import Check, CheckedData, Finding, FoundRow
from tunesmith.checks._texts import input_texts

_WORDS = 6
_LEAST_SHARE = 0.05
_FEWEST_ROWS = 20


def find(data: CheckedData) -> Iterator[Finding]:
    """The most frequent beginning, and the most frequent ending, of the training texts."""
    seen: set[str] = set()
    beginnings: Counter[str] = Counter()
    endings: Counter[str] = Counter()
    for _, text in input_texts(data, "train"):
        words = text.casefold().split()
        if len(words) <= _WORDS or (whole := " ".join(words)) in seen:
            continue  # of the same texts, the first counts
        seen.add(whole)
        for counts, edge in ((beginnings, words[:_WORDS]), (endings, words[-_WORDS:])):
            counts[" ".join(edge)] += 1
    for what, counts in (("begin", beginnings), ("end", endings)):
        if counts:
            words_, n = counts.most_common(1)[0]
            if n >= max(_FEWEST_ROWS, _LEAST_SHARE * len(data.splits["train"])):
                yield _finding(data, what, words_, n)


def _finding(data: CheckedData, what: str, edge: str, n: int) -> Finding:
    n_rows = len(data.splits["train"])
    rows = [row for row, text in input_texts(data, "train") if _has(text, what, edge)]
    return Finding(
        "boilerplate",
        "note",
        f"{n:,} different texts of {n_rows:,} train rows {what} with the same {_WORDS} words: `{edge}`",
        "Remove what is the same in many texts, unless texts to be answered have it too.",
        [FoundRow("train", row) for row in rows],
        {"where": what, "words": edge, "texts": n, "rows": n_rows},
    )


def _has(text: str, what: str, edge: str) -> bool:
    words = text.casefold().split()
    return " ".join(words[:_WORDS] if what == "begin" else words[-_WORDS:]) == edge


check = Check("words with which many texts begin or end", find)
