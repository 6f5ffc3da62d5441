"""Texts that say nothing: without a letter or a digit, or one word again and again."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunesmith.checks import Check, CheckedData, Finding, FoundRow
from tunesmith.checks._texts import input_texts

_FEWEST_REPEATED = 6
_WARN_SHARE = 0.001
_WORD = re.compile(r"\w+")


def find(data: CheckedData) -> Iterator[Finding]:
    """One finding for each split with such texts."""
    for split in data.splits:
        notes = {row: note for row, text in input_texts(data, split) if (note := _note(text))}
        if notes:
            n_signs = sum(note == _SIGNS for note in notes.values())
            yield Finding(
                "empty_texts",
                "warn" if len(notes) >= _WARN_SHARE * len(data.splits[split]) else "note",
                f"{len(notes):,} of {len(data.splits[split]):,} {split} rows say nothing: {n_signs:,} hold signs "
                f"alone, {len(notes) - n_signs:,} one word again and again",
                "Read them, and remove those that nobody can answer; emojis alone may be meant.",
                [FoundRow(split, row, None, note) for row, note in notes.items()],
                {
                    "split": split,
                    "rows": len(data.splits[split]),
                    "signs": n_signs,
                    "repeated": len(notes) - n_signs,
                },
            )


_SIGNS, _REPEATED = "no letter and no digit", "one word again and again"


def _note(text: str) -> str:
    if not any(character.isalnum() for character in text):
        return _SIGNS
    words = _WORD.findall(text[:2000].casefold())
    return _REPEATED if len(words) >= _FEWEST_REPEATED and len(set(words)) == 1 else ""


check = Check("texts of signs alone, or of one word again and again", find)
