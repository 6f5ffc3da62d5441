"""Characters that are not what was written: text decoded in the wrong encoding, control and invisible characters.

`cafÃ©` is `café` in UTF-8, read as Windows-1252. `ftfy` finds such text and what it was. A replacement character
(�) says that something is lost, which nothing brings back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunesmith.checks import Check, CheckedData, Finding, FoundRow
from tunesmith.checks._texts import all_texts, changes_of, may_change
from tunesmith.tasks._values import strings

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
# Joiners (U+200C, U+200D) belong to emojis and to words of some scripts.
_INVISIBLE = re.compile("[\u200b\u2060\ufeff\u00ad]")
_REPLACEMENT = "\ufffd"
_NAMES = {
    "mojibake": "text in a wrong encoding",
    "control": "control characters",
    "invisible": "invisible characters",
    "replaced": "replacement characters (�)",
}


def find(data: CheckedData) -> Iterator[Finding]:
    """One finding for each split with such texts."""
    for split in data.splits:
        yield from _find(data, split)


def _find(data: CheckedData, split: str) -> Iterator[Finding]:
    kinds: dict[str, set[int]] = {kind: set() for kind in _NAMES}
    places: dict[int, set[str]] = {}
    for row, column, value in all_texts(data, split):
        for kind in {kind for text in strings(value) for kind in problems_of(text)}:
            kinds[kind].add(row)
            if kind != "replaced":
                places.setdefault(row, set()).add(column)
    rows = sorted(set().union(*kinds.values()))
    if not rows:
        return
    listed = ", ".join(f"{len(found):,} {_NAMES[kind]}" for kind, found in kinds.items() if found)
    changes = changes_of(data, split, places, repaired)
    yield Finding(
        "characters",
        "warn" if len(kinds["mojibake"] | kinds["replaced"]) * 1000 >= len(data.splits[split]) else "note",
        f"{len(rows):,} of {len(data.splits[split]):,} {split} rows have broken characters: {listed}",
        _remedy(data, can_fix=bool(changes)),
        [FoundRow(split, row, None, _note(kinds, row)) for row in rows],
        {
            "split": split,
            "rows": len(data.splits[split]),
            **{kind: len(found) for kind, found in kinds.items()},
        },
        changes,
    )


def _note(kinds: dict[str, set[int]], row: int) -> str:
    return ", ".join(_NAMES[kind] for kind, found in kinds.items() if row in found)


def _remedy(data: CheckedData, *, can_fix: bool) -> str:
    if can_fix:
        return "Read the source in its own encoding again, or let `--fix` repair what can be repaired."
    if not may_change(data):
        return "Read the source in its own encoding again: a repair here would move what its locations name."
    return "Read the source in its own encoding again: what a replacement character stands for is lost."


def problems_of(text: str) -> list[str]:
    """What is wrong with the characters of a text."""
    found = ["control"] if _CONTROL.search(text) else []
    if text.isascii():
        return found
    found += ["invisible"] if _INVISIBLE.search(text) else []
    found += ["replaced"] if _REPLACEMENT in text else []
    return [*found, "mojibake"] if _is_mojibake(text) else found


def _is_mojibake(text: str) -> bool:
    from ftfy import fix_encoding
    from ftfy.badness import is_bad

    return bool(is_bad(text)) and fix_encoding(text) != text


def repaired(text: str) -> str:
    """The text as it was probably written."""
    from ftfy import fix_encoding

    if _is_mojibake(text):
        text = str(fix_encoding(text))
    return _INVISIBLE.sub("", _CONTROL.sub("", text))


check = Check("text in a wrong encoding, control and invisible characters", find)
