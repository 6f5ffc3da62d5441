"""Rows that cannot be used: a missing or empty text, a label that training does not have, a broken line."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.checks import Check, CheckedData, Finding
from tunesmith.data.invalid_rows import kinds_of_problems


def find(data: CheckedData) -> Iterator[Finding]:
    """One finding for all such rows; its evidence has each kind of problem with its number and first locations."""
    problems = data.invalid_rows
    if not problems:
        return
    n_rows = len(problems) + sum(map(len, data.splits.values()))
    kinds = kinds_of_problems(problems)
    first = kinds[0][0]
    yield Finding(
        "invalid_rows",
        "warn",
        f"{len(problems):,} of {n_rows:,} rows cannot be used; most often: {first.reason}",
        "Correct them, or set them aside in training with `data.bad_rows=set_aside`.",
        evidence={
            "invalid_rows": len(problems),
            "rows": n_rows,
            "kinds": [
                {"reason": kind[0].reason, "rows": len(kind), "first": [str(it.location) for it in kind[:20]]}
                for kind in kinds
            ],
        },
    )


check = Check("rows that cannot be used", find)
