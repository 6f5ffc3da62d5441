"""CoNLL: a token and its tag on each line, blank lines between sentences.

Columns are separated by tabs, or else by runs of spaces. The first is the token and the last is the tag; columns
between them are ignored. The task recognises the scheme of the tags (IOB1, IOB2, IOBES, …), so they are returned
unchanged, and only a tag of no known scheme is a problem. A line `-DOCSTART-` begins a document; its sentences
have a column `document`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace

from tunesmith.data.formats import FileFormat, Row
from tunesmith.data.formats._encodings import encoding_of, text_problem
from tunesmith.data.formats._files import DataFile
from tunesmith.data.formats._json import lines_of
from tunesmith.data.formats.conllu import format as conllu

_TAG = re.compile(r"O|[BIESLUM]-.+")
_DOCUMENT = "-DOCSTART-"

_Line = tuple[int, list[str]]
"""A line's number and its columns."""


def _rows(file: DataFile) -> Iterator[Row]:
    if conllu.recognises(file.head()):
        file.notice(f"`{file.name}` is read as CoNLL-U, because of its content")
        return conllu.rows(file)
    return _sentences(file)


def _sentences(file: DataFile) -> Iterator[Row]:
    with file.open_text() as handle:
        numbered = enumerate(handle, start=1)
        document: dict[str, str] = {}
        for between, lines in itertools.groupby(numbered, key=lambda line: _is_between(line[1])):
            if between:
                starts = [n for n, text in lines if text.startswith(_DOCUMENT)]
                document = {"document": f"{file.name}:{starts[-1]}"} if starts else document
            elif sentence := _without_comments([(n, _columns(text)) for n, text in lines]):
                row = _sentence(sentence)
                yield replace(row, values={**row.values, **document}) if row.values else row


def _is_between(line: str) -> bool:
    """Whether a line is between sentences."""
    return not line.strip() or line.startswith(_DOCUMENT)


def _columns(line: str) -> list[str]:
    # Not `split()`: a token may contain a space that does not separate columns (a no-break space).
    bare = line.rstrip("\r\n\t ")
    return bare.split("\t") if "\t" in bare else [column for column in bare.split(" ") if column]


def _without_comments(lines: list[_Line]) -> list[_Line]:
    width = len(lines[-1][1])
    return list(itertools.dropwhile(lambda line: _is_comment(line[1], width), lines))


def _is_comment(columns: list[str], width: int) -> bool:
    """Whether a line is a comment `# …`, and not the token `#` with its tag."""
    if not columns[0].startswith("#"):
        return False
    return not _TAG.fullmatch(columns[-1]) or len(columns) > max(width, 2)


def _sentence(lines: list[_Line]) -> Row:
    first, width = lines[0][0], len(lines[0][1])
    n_lines = lines[-1][0] - first + 1
    for number, columns in lines:
        if problem := _fault(columns, width):
            return Row(first, problem=f"line {number} {problem}", n_lines=n_lines)
    values = {"tokens": [c[0] for _, c in lines], "tags": [c[-1] for _, c in lines]}
    return Row(first, values, n_lines=n_lines)


def _fault(columns: list[str], width: int) -> str:
    """Why a line cannot be read, as the end of `line 3 …`; empty if it can."""
    if problem := text_problem("\t".join(columns)):
        return f"is {problem}" if problem.startswith("not") else problem.removeprefix("it ")
    if len(columns) != width:
        return f"has {len(columns)} columns, the sentence's first line has {width}."
    if width == 1:
        return f"has no tag: `{columns[0]}` must be followed by a tab or a space, and a tag."
    if not columns[0]:
        return "has no token."
    if not _TAG.fullmatch(columns[-1]):
        return (
            f"has the tag `{columns[-1]}`; a tag is O, or one of B I E S L U M, a hyphen and a type: `B-PER` for "
            "the first word of a person, `I-PER` for those that follow."
        )
    return ""


def _recognises(head: bytes) -> bool:
    """Whether every line has a token and a tag, and some lines are blank."""
    lines = lines_of(head)
    cut = [_columns(line) for line in lines if not _is_between(line)]
    is_parted = encoding_of(head)[1] == "UTF-8" and (b"\n\n" in head or b"\n\r\n" in head)
    return len(cut) > 1 and is_parted and all(len(c) > 1 and _TAG.fullmatch(c[-1]) for c in cut)


format = FileFormat(
    "a token and its tag on each line", (".conll", ".bio", ".iob", ".iob2", ".bioes"), _rows, _recognises
)
