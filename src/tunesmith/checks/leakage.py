"""Rows to score with whose text, or nearly, is among the rows to learn from: their scores are too good.

It blocks where the rows could move the score that counts by more than its interval: if all of them are answered
right because they were learned, accuracy is too high by at most their share. The half-width of the interval is
taken at an accuracy of one half, where it is widest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from tunesmith.checks import Change, Check, CheckedData, Finding, FoundRow
from tunesmith.checks._copies import Matches, copies_of, note_of
from tunesmith.checks._texts import input_texts
from tunesmith.evaluation.result import final_split

_HALF_WIDTH = 0.98  # 1.96 √(½ · ½)


def find(data: CheckedData) -> Iterator[Finding]:
    """One finding for each pair of splits that share texts."""
    for split, source in (("test", "train"), ("validation", "train"), ("test", "validation")):
        if split in data.splits and source in data.splits:
            yield from _find(data, split, source)


def _find(data: CheckedData, split: str, source: str) -> Iterator[Finding]:
    copies, examples, others = copies_of(data), data.splits[split], data.splits[source]
    matches = copies.between(split, source)
    if not matches:
        return
    rows, n_exact = [], 0
    for row, (of, similarity) in matches.items():
        is_exact = copies.is_exact(split, row, source, of)
        n_exact += is_exact
        rows.append(FoundRow(split, row, similarity, note_of(others, of, similarity, is_exact=is_exact)))
    rows.sort(key=lambda it: (-(it.score or 0), it.row))
    half_width = _HALF_WIDTH / math.sqrt(len(examples))
    share, level = len(rows) / len(examples), copies.copies.level
    counts = split == final_split(data.splits) and source == "train"
    yield Finding(
        "leakage",
        "block" if counts and share > half_width else "warn",
        f"{len(rows):,} of {len(examples):,} {split} rows are also among the {source} rows: {n_exact:,} with the "
        f"same text, {len(rows) - n_exact:,} nearly",
        _remedy(split, source, counts=counts),
        rows,
        {
            "split": split,
            "source": source,
            "rows": len(examples),
            "leaked": len(rows),
            "identical": _identical(data, split, source, matches),
            "exact": n_exact,
            "near": len(rows) - n_exact,
            "share": share,
            "half_width": half_width,
            "least_similarity": level.similarity,
            "least_shared_bits": level.bits,
        },
        [Change(source, row) for row in copies.between(source, split)],
    )


def _identical(data: CheckedData, split: str, source: str, matches: Matches) -> int:
    """How many of the rows have a text that is the same in every character."""
    texts = Counter(text for row, text in input_texts(data, split) if row in matches)
    found = {text for _, text in input_texts(data, source) if text in texts}
    return sum(texts[text] for text in found)


def _remedy(split: str, source: str, *, counts: bool) -> str:
    said = f"Take their copies out of the {source} rows (`--fix` does), or choose other {split} rows."
    return f"{said} A training leaves such rows out of the score that counts." if counts else said


check = Check("test and validation rows that are also in training, or nearly", find)
