"""Rows that cannot be used: file, line and reason of each.

By default, invalid rows stop the run, and the first ones are named. With `bad_rows: set_aside` they are written to
a file and counted, and the run continues.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.data.formats._encodings import conversion_of
from tunesmith.errors import DataError
from tunesmith.run import write_atomically

if TYPE_CHECKING:
    from tunesmith.tasks import Values

_SHOWN_KINDS, _SHOWN_PLACES, _SHOWN_HINTS = 5, 5, 3
_QUOTED = re.compile(r"`[^`]*`")
# What differs between problems of one kind: values, numbers, and what the standard library adds to "not JSON".
_VALUE = re.compile(r"`[^`]*`|\d+|(?<=not JSON: ).*")


@dataclass(frozen=True)
class InvalidRow:
    """One row that cannot be used."""

    file: str
    line: int
    reason: str
    values: Values = field(default_factory=dict)
    unit: str = "line"
    hint: str = ""

    @property
    def location(self) -> str:
        """The location of the row: `train.csv, line 17`."""
        return f"{self.file}, {self.unit} {self.line}"

    def __str__(self) -> str:
        return f"{self.location}: {self.reason}"


def refuse_invalid_rows(
    invalid_rows: Sequence[InvalidRow], n_usable: int, *, remedy: str, notices: Sequence[str] = ()
) -> None:
    """Raises an error if there are rows that cannot be used.

    Args:
        invalid_rows: rows that cannot be used.
        n_usable: number of usable rows.
        remedy: remedy if there are usable rows.
        notices: notices about the sources, which may explain the problem.

    Raises:
        DataError: there are invalid rows; each kind of problem is named once, with its count and first locations.
    """
    if not invalid_rows:
        return
    kinds = kinds_of_problems(invalid_rows)
    shown = "\n".join(f"  {_kind_line(kind)}" for kind in kinds[:_SHOWN_KINDS])
    left = sum(map(len, kinds[_SHOWN_KINDS:]))
    more = f"\n  … and {left} of {len(kinds) - _SHOWN_KINDS} other kinds" if left else ""
    advice = remedy if n_usable else "No usable row is left: check the file's format, encoding and columns."
    hints = dict.fromkeys(hint for problem in invalid_rows for hint in _hints(problem) if hint)
    raise DataError(
        f"{len(invalid_rows)} of {len(invalid_rows) + n_usable} rows cannot be used:\n{shown}{more}",
        remedy="\n".join([advice, *[*hints, *notices][:_SHOWN_HINTS]]),
    )


def kinds_of_problems(invalid_rows: Sequence[InvalidRow]) -> list[list[InvalidRow]]:
    """Invalid rows grouped by problem, whatever the values in it; the most frequent first."""
    kinds: dict[str, list[InvalidRow]] = {}
    for problem in invalid_rows:
        kinds.setdefault(_VALUE.sub("…", problem.reason), []).append(problem)
    return sorted(kinds.values(), key=len, reverse=True)


def _kind_line(invalid_rows: Sequence[InvalidRow]) -> str:
    """One line for a kind of problem: the first location, the number and locations of more, and other values."""
    first = invalid_rows[0]
    if len(invalid_rows) == 1:
        return str(first)
    near = [f"{f.unit} {f.line}" for f in invalid_rows[1 : 1 + _SHOWN_PLACES] if f.file == first.file]
    where = f": {', '.join(near)}{', …' if len(near) < len(invalid_rows) - 1 else ''}" if near else ""
    others = Counter(f.reason for f in invalid_rows if f.reason != first.reason)
    values = [
        value
        for reason, _ in others.most_common(_SHOWN_PLACES)
        if (value := _first_difference(first.reason, reason))
    ]
    said = f" (also {', '.join(dict.fromkeys(values))})" if values else ""
    more = f"(and {len(invalid_rows) - 1:,} more{where})"
    return f"{first.file}, {first.unit} {first.line} {more}: {first.reason}{said}"


def _first_difference(one: str, other: str) -> str:
    """The first quoted value of `other` that differs from that of `one`."""
    pairs = zip(_QUOTED.findall(one), _QUOTED.findall(other), strict=False)
    return next((there for here, there in pairs if here != there), "")


def _hints(problem: InvalidRow) -> tuple[str, str]:
    return problem.hint, conversion_of(problem.reason, problem.file)


def set_invalid_rows_aside(invalid_rows: Sequence[InvalidRow], path: Path) -> None:
    """Writes rows that cannot be used to a JSON-lines file, with their reasons."""
    lines = (
        {"file": f.file, "line": f.line, "unit": f.unit, "reason": f.reason, "values": dict(f.values)}
        for f in invalid_rows
    )
    # Invalid rows may hold values that JSON or UTF-8 cannot represent.
    write_atomically(path, (json.dumps(line, default=str) + "\n" for line in lines))
