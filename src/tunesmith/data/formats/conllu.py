"""CoNLL-U (universaldependencies.org/format.html): ten columns per word, blank lines between sentences.

A row has `tokens`, `lemmas`, `upos`, `xpos` and `deprel`. Each key of the column MISC that all words of a sentence
have, or whose values look like tags (`NER=B-PER`), becomes a list of that name; NER or NE becomes `tags`. For a
range (`3-4`), its words are read, and not the range; empty nodes (`5.1`) are not words of the text. If comments
contain `newdoc`, `document` says which sentences belong together.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tunesmith.data.formats import FileFormat, Row
from tunesmith.data.formats._encodings import text_problem
from tunesmith.data.formats._files import DataFile
from tunesmith.data.formats._json import lines_of

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_COLUMNS = 10
_DOCUMENT = re.compile(r"# ?newdoc\b")
_WORD = re.compile(r"\d+")
_NO_WORD = re.compile(r"\d+-\d+|\d+\.\d+")
_NAMES = {"lemmas": 2, "upos": 3, "xpos": 4, "deprel": 7}
_TAG_KEYS = ("ner", "ne", "nerc", "entity")
_TAG = re.compile(r"O|[BIESLUM]-.+")


def _rows(file: DataFile) -> Iterator[Row]:
    with file.open_text() as handle:
        numbered = enumerate(handle, start=1)
        document: dict[str, str] = {}
        for is_between, group in itertools.groupby(numbered, key=lambda line: not line[1].strip()):
            lines = [] if is_between else list(group)
            starts = [number for number, line in lines if _DOCUMENT.match(line)]
            document = {"document": f"{file.name}:{starts[-1]}"} if starts else document
            if words := [line for line in lines if not line[1].startswith("#")]:
                row = _sentence(words)
                yield replace(row, values={**row.values, **document}) if row.values else row


def _sentence(lines: list[tuple[int, str]]) -> Row:
    words: list[list[str]] = []
    n_lines = lines[-1][0] - lines[0][0] + 1
    for number, line in lines:
        columns = line.rstrip("\r\n").split("\t")
        if problem := _problem(line, columns):
            return Row(lines[0][0], problem=f"line {number} {problem}", n_lines=n_lines)
        if _WORD.fullmatch(columns[0]):
            words.append(columns)
    if not words:
        return Row(lines[0][0], problem="the sentence has no word.", n_lines=n_lines)
    return Row(lines[0][0], _values(words), n_lines=n_lines)


def _problem(line: str, columns: list[str]) -> str:
    """Why a line cannot be read, as the end of `line 3 …`; empty if it can."""
    if problem := text_problem(line):
        return f"is {problem}" if problem.startswith("not") else problem.removeprefix("it ")
    if len(columns) != _COLUMNS:
        return f"has {len(columns)} columns, and CoNLL-U has {_COLUMNS}."
    if not _WORD.fullmatch(columns[0]) and not _NO_WORD.fullmatch(columns[0]):
        return f"begins with `{columns[0]}`, and not with the number of a word."
    return "" if columns[1] else "has no word."


def _values(words: list[list[str]]) -> JsonObject:
    values: JsonObject = {"tokens": [columns[1] for columns in words]}
    values |= {name: [columns[i] for columns in words] for name, i in _NAMES.items()}
    features = [dict(part.partition("=")[::2] for part in columns[9].split("|")) for columns in words]
    for key in dict.fromkeys(key for found in features for key in found if key not in ("_", "SpaceAfter")):
        given = [found.get(key) for found in features]
        if all(value is None or _TAG.fullmatch(value) for value in given):
            is_tags = key.lower() in _TAG_KEYS
            values["tags" if is_tags else key] = [value or "O" for value in given]
        elif None not in given:
            values[key] = given
    return values


def _recognises(head: bytes) -> bool:
    lines = [line.split("\t") for line in lines_of(head) if not line.startswith("#")]
    return bool(lines) and all(len(columns) == _COLUMNS and columns[0][:1].isdecimal() for columns in lines)


format = FileFormat("ten columns per word, CoNLL-U", (".conllu",), _rows, _recognises)
