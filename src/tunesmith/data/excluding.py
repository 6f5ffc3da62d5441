"""Rows that must not be learned: a file of fingerprints, so that it holds none of the texts that it keeps out.

A fingerprint is 64 bits of a hash of the row's inputs, the one by which copies are found: other case and white
space change nothing. A line of the file has one, as 16 hexadecimal digits; what follows a `#` is a remark.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.data.examples import Examples, Reading
from tunesmith.data.near_copies import text_hashes
from tunesmith.errors import DataError
from tunesmith.run import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIGITS = 16


def read_fingerprints(path: str | Path) -> NDArray[np.uint64]:
    """The fingerprints in a file.

    Raises:
        DataError: it is not there, or a line is no fingerprint.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(
            f"`{path}` cannot be read: {error}.", remedy="`tunesmith forget` writes such a file."
        ) from None
    return np.array([_number(line, f"{path}, line {i}") for i, line in _said(lines)], dtype=np.uint64)


def add_fingerprints(path: Path, fingerprints: Iterable[int]) -> int:
    """Adds fingerprints to a file, each once; the number of those that were not there."""
    known = set(read_fingerprints(path).tolist()) if path.is_file() else set()
    new = sorted(set(fingerprints) - known)
    if new:
        before = path.read_text(encoding="utf-8") if path.is_file() else "# rows that must not be learned\n"
        text = before if before.endswith("\n") else before + "\n"
        write_atomically(path, text + "".join(f"{number:0{_DIGITS}x}\n" for number in new))
    return len(new)


def without_excluded(reading: Reading, path: str) -> Reading:
    """The rows of a reading whose fingerprints are not in a file; a notice has the number of the others.

    Raises:
        DataError: the file cannot be read, or no row is left.
    """
    examples, excluded = reading.examples, read_fingerprints(path)
    if not len(examples):
        return reading
    is_out = np.isin(text_hashes(examples), excluded)
    if is_out.all():
        raise DataError(f"`data.exclude` leaves no row of {examples.files[0]}.", remedy="Give other data.")
    if not is_out.any():
        return reading
    notice = f"{int(is_out.sum()):,} rows of {examples.files[0]} are left out by `data.exclude`"
    return replace(
        reading, examples=examples.take(np.flatnonzero(~is_out)), notices=[*reading.notices, notice]
    )


def fingerprints_of(examples: Examples) -> list[int]:
    """The fingerprint of each row."""
    found: list[int] = text_hashes(examples).tolist()
    return found


def _said(lines: Iterable[str]) -> Iterable[tuple[int, str]]:
    stripped = ((number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1))
    return ((number, line) for number, line in stripped if line)


def _number(text: str, location: str) -> int:
    try:
        if len(text) == _DIGITS:
            return int(text, 16)
    except ValueError:
        pass
    raise DataError(
        f"a fingerprint must have {_DIGITS} hexadecimal digits, got `{text}`.",
        location=location,
        remedy="Remove the line, or write the file again: `tunesmith forget`.",
    )
