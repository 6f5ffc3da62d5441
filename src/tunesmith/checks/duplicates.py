"""Rows of one split whose text is that of an earlier row, or nearly, and which teach the same.

They teach nothing new, and give what they say more weight. In test rows, they make the intervals too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.checks import Change, Check, CheckedData, Finding, FoundRow
from tunesmith.checks._copies import copies_of, note_of, within
from tunesmith.checks._targets import same_target

_WARN_SHARE = 0.01


def find(data: CheckedData) -> Iterator[Finding]:
    """One finding for each split with copies."""
    for split in data.splits:
        yield from _find(data, split)


def _find(data: CheckedData, split: str) -> Iterator[Finding]:
    examples, copies = data.splits[split], copies_of(data)
    rows: list[FoundRow] = []
    n_exact = 0
    for row, (first, similarity) in within(data, split).items():
        if not same_target(data.task, examples, first, row):
            continue  # the check of contradicting labels has it
        is_exact = copies.is_exact(split, row, split, first)
        n_exact += is_exact
        rows.append(FoundRow(split, row, similarity, note_of(examples, first, similarity, is_exact=is_exact)))
    if not rows:
        return
    rows.sort(key=lambda it: (-(it.score or 0), it.row))
    near = len(rows) - n_exact
    share = len(rows) / len(examples)
    level = copies.copies.level
    yield Finding(
        "duplicates",
        "warn" if share >= _WARN_SHARE else "note",
        f"{len(rows):,} of {len(examples):,} {split} rows repeat an earlier one: {n_exact:,} have the same text, "
        f"{near:,} nearly",
        "Remove them (`--fix` keeps the first of each), unless their frequency is meant to count.",
        rows,
        {
            "split": split,
            "rows": len(examples),
            "copies": len(rows),
            "exact": n_exact,
            "near": near,
            "least_similarity": level.similarity,
            "least_shared_bits": level.bits,
        },
        [Change(split, it.row) for it in rows],
    )


check = Check("rows that repeat an earlier one, or nearly", find)
