"""Runs checks and gives their findings as people and programs read them: check.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tunesmith.checks import CHECKS, Check, CheckedData, Finding, FoundRow
from tunesmith.run.json_files import finite
from tunesmith.tasks._values import strings

if TYPE_CHECKING:
    from tunesmith.data.examples import Examples
    from tunesmith.types import JsonObject

MOST_ROWS = 10_000
"""Rows of a finding that check.json lists; `n_rows` counts all of them."""

_EXCERPT = 200
_SEVERITIES = ("block", "warn", "note")


def run_checks(
    data: CheckedData, *, wanted: Callable[[Check], bool] = lambda check: True
) -> Iterable[Finding]:
    """The findings of all checks that are wanted; of those that need features only where there are any.

    Args:
        data: rows, and what is known of them.
        wanted: whether a check is run.
    """
    for name in CHECKS.names():
        check = CHECKS.get(name)
        if wanted(check) and (data.features is not None or not check.needs_features):
            yield from check.find(data)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Findings by severity, and of one severity those about most rows first."""
    return sorted(findings, key=lambda it: (_SEVERITIES.index(it.severity), -len(it.rows)))


def as_json(finding: Finding, splits: Mapping[str, Examples]) -> JsonObject:
    """One entry of `findings` in check.json.

    Args:
        finding: what was found.
        splits: the rows that it is about.
    """
    return {
        "check": finding.check,
        "severity": finding.severity,
        "text": finding.text,
        "rows": [_row(found, splits[found.split]) for found in finding.rows[:MOST_ROWS]],
        "n_rows": len(finding.rows),
        "evidence": finding.evidence,
        "remedy": finding.remedy,
        "fixable": bool(finding.changes),
    }


def _row(found: FoundRow, examples: Examples) -> JsonObject:
    return {
        "file": examples.files[examples.file_index[found.row]],
        "line": int(examples.lines[found.row]),
        "split": found.split,
        "score": None if found.score is None else finite(float(found.score)),
        "note": found.note,
    }


def blocking(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that make training pointless, or its score wrong."""
    return [finding for finding in findings if finding.severity == "block"]


def excerpt(examples: Examples, row: int) -> str:
    """The beginning of a row's inputs.

    Args:
        examples: rows.
        row: number of the row.
    """
    parts = [" ".join(strings(examples.columns[name][row])) for name in examples.inputs]
    return " ⏐ ".join(part if len(part) <= _EXCERPT else f"{part[:_EXCERPT]}…" for part in parts)
