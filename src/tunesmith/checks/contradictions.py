"""The same text with different targets: at most one of them can be right, if the task has one answer."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.checks import Check, CheckedData, Finding, FoundRow
from tunesmith.checks._copies import copies_of, within
from tunesmith.checks._targets import has_labels, same_target, shown_target

_WARN_SHARE = 0.001


def find(data: CheckedData) -> Iterator[Finding]:
    """One finding for each split; only for tasks whose rows teach labels or a number."""
    kinds = {column.kind for column in data.task.columns if column.target}
    if not has_labels(data) and "number" not in kinds:
        return
    for split in data.splits:
        yield from _find(data, split)


def _find(data: CheckedData, split: str) -> Iterator[Finding]:
    task, examples, copies = data.task, data.splits[split], copies_of(data)
    exact: list[FoundRow] = []
    near: list[FoundRow] = []
    for row, (first, similarity) in within(data, split).items():
        if same_target(task, examples, first, row):
            continue
        theirs, ours = (shown_target(task, examples, it) for it in (first, row))
        note = f"`{ours}`, and {examples.row_id(first)} is `{theirs}`"
        is_exact = copies.is_exact(split, row, split, first)
        (exact if is_exact else near).append(FoundRow(split, row, similarity, note))
    if not exact and not near:
        return
    yield Finding(
        "contradictions",
        "warn" if len(exact) >= max(1, _WARN_SHARE * len(examples)) else "note",
        f"{len(exact):,} {split} rows have the text of an earlier row and another target, and {len(near):,} "
        "nearly its text",
        "Decide which target is right, and correct or remove the others; if both are, add what tells them apart.",
        [*exact, *sorted(near, key=lambda it: -(it.score or 0))],
        {"split": split, "rows": len(examples), "exact": len(exact), "near": len(near)},
    )


check = Check("the same text with different targets", find)
