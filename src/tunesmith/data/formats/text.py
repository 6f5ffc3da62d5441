"""Plain text, cut at blank lines into sections of several paragraphs.

A section has at most 10,000 characters: enough to fill a context window, and few enough that a book becomes many
rows, which can be shuffled and held out. No character is changed: all sections together are the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from tunesmith.data.formats import FileFormat, Row
from tunesmith.data.formats._encodings import text_problem
from tunesmith.data.formats._files import DataFile

SECTION_CHARACTERS = 10_000
# Where a section may end, the best first: after blank lines, after a line, after a space.
_ENDS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"\s"))


def _rows(file: DataFile) -> Iterator[Row]:
    line = 1
    with file.open_text() as handle:
        for section in _sections(handle):
            n_lines = section.count("\n")
            problem = text_problem(section)
            values = {} if problem else {"text": section}
            yield Row(line, values, problem=problem, n_lines=max(n_lines, 1))
            line += n_lines


def _sections(handle: IO[str]) -> Iterator[str]:
    rest = ""
    while more := handle.read(SECTION_CHARACTERS):
        rest += more
        while len(rest) > SECTION_CHARACTERS:
            end = _end(rest[:SECTION_CHARACTERS])
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _end(window: str) -> int:
    """Where a section that begins with the window ends: as late as possible, and never with only spaces in it."""
    for pattern in _ENDS:
        ends = [match.end() for match in pattern.finditer(window)]
        if ends and window[: ends[-1]].strip():
            return ends[-1]
    return len(window)


format = FileFormat("plain text, cut at blank lines", (".txt", ".text"), _rows)
