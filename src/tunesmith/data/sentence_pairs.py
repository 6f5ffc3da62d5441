"""Pairs of sentences that differ in the group of people that they are about: a stereotype, its counterpart.

Two forms are read. A table as that of CrowS-Pairs has `sent_more` and `sent_less` (the first is the more
stereotypical), and may have `bias_type` and `stereo_antistereo`. A folder as that of WinoBias has files
`pro_stereotyped_type1.txt.test` and `anti_stereotyped_type1.txt.test`, whose lines belong together; the
pronoun stands in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tunesmith.data.reading import read_rows
from tunesmith.errors import DataError

ANTI = "antistereo"
_PRO, _OTHER = "pro_stereotyped_", "anti_stereotyped_"
_MALE = frozenset({"he", "him", "his", "himself"})
_PRONOUN = re.compile(r"\[(he|him|his|himself|she|her|hers|herself)\]", re.IGNORECASE)


@dataclass(frozen=True)
class SentencePair:
    """Two sentences.

    Args:
        more: the more stereotypical one.
        less: the less stereotypical one.
        kind: what they are about: `gender`, `religion`; the type of WinoBias.
        is_anti: whether the writer meant to go against a stereotype with the pair.
        male: of WinoBias, whether the pronoun of `more` is male; None elsewhere.
    """

    more: str
    less: str
    kind: str
    is_anti: bool = False
    male: bool | None = None


def read_pairs(source: str) -> tuple[list[SentencePair], int]:
    """The pairs of a table or a folder, and the number of those left out: they say nothing of a group.

    Both sentences of such a pair are the same, or have a pronoun of one gender.

    Raises:
        DataError: it has another form, or no pairs.
    """
    found = list(_winobias(Path(source)) if Path(source).is_dir() else _table(source))
    pairs = [pair for pair in found if pair is not None and pair.more != pair.less]
    if not pairs:
        raise DataError(
            f"`{source}` has no pairs of sentences.",
            remedy="Give a table with `sent_more` and `sent_less`, or the folder of WinoBias.",
            location="evaluate.stereotypes",
        )
    return pairs, len(found) - len(pairs)


def _table(source: str) -> Iterator[SentencePair]:
    for file, row in read_rows(source):
        more, less = row.values.get("sent_more"), row.values.get("sent_less")
        if row.problem or not isinstance(more, str) or not isinstance(less, str) or not (more and less):
            raise DataError(
                row.problem or "a pair needs `sent_more` and `sent_less`.",
                location=row.location(file),
                remedy="Fix the row.",
            )
        kind = str(row.values.get("bias_type") or "all")
        yield SentencePair(more, less, kind, row.values.get("stereo_antistereo") == ANTI)


def _winobias(folder: Path) -> Iterator[SentencePair | None]:
    for path in sorted(folder.glob(f"{_PRO}*")):
        other = path.with_name(path.name.replace(_PRO, _OTHER))
        lines = [_lines(file) for file in (path, other)]
        if len(lines[0]) != len(lines[1]):
            raise DataError(
                f"the files must have as many lines, and have {len(lines[0])} and {len(lines[1])}.",
                location=f"{path} and {other.name}",
                remedy="Take both files from one version.",
            )
        kind = path.name.removeprefix(_PRO).split(".")[0]
        for number, (more, less) in enumerate(zip(*lines, strict=True), start=1):
            yield _pair(more, less, kind, f"{path}, line {number}")


def _pair(more: str, less: str, kind: str, location: str) -> SentencePair | None:
    """A pair of lines; None where both have a pronoun of one gender.

    Raises:
        DataError: there is no pronoun in brackets.
    """
    found = [_PRONOUN.search(line) for line in (more, less)]
    if found[0] is None or found[1] is None:
        raise DataError("there is no pronoun in brackets.", location=location, remedy="Fix the line.")
    is_male, other = (match[1].lower() in _MALE for match in found if match is not None)
    return None if is_male == other else SentencePair(_plain(more), _plain(less), kind, male=is_male)


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(
            f"`{path.name}` is missing.", location=str(path.parent), remedy="Give the whole folder."
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    return [re.sub(r"^\d+\s+", "", line) for line in lines if line.strip()]


def _plain(line: str) -> str:
    """A line of WinoBias without brackets."""
    return line.replace("[", "").replace("]", "").strip()
