"""Where a text stands in another that was written a little differently, or counted from elsewhere.

Answers are often copied by hand or through a tokenizer: `$ 35 per night` for `$35 per night`. And their places are
often counted in other units than characters: a browser counts UTF-16 units, Go and Rust count bytes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, lru_cache

WAYS = ("nearby", "normalized")
"""How far an answer may differ from what stands in its text."""

_SINGLE_QUOTES = frozenset("'`´‘’‚‛‹›′")
_DOUBLE_QUOTES = frozenset('"“”„‟«»″')
_DASHES = frozenset("\u2212\u2043")

UNITS: dict[str, Callable[[str], int]] = {
    "UTF-16 units, as JavaScript and Java count": lambda text: len(text.encode("utf-16-le")) // 2,
    "bytes of UTF-8, as Go and Rust count": lambda text: len(text.encode("utf-8")),
}
"""What places are counted in by mistake, and how long a text is in it."""


def find(context: str, text: str, start: int, how: str) -> tuple[int, int] | None:
    """Where a text stands: (first character, character after the last), the nearest to `start`; None for nowhere.

    Where some places begin and end at borders of words, those that cut a word are none.

    Args:
        context: that is looked through.
        text: that is looked for.
        start: where it should be.
        how: `nearby`: the same text; `normalized`: also one that differs by white space, quotes, dashes and case.
    """
    places = [(at, at + len(text)) for at in _occurrences(context, text)]
    if not places and how == "normalized":
        plain, characters = _plain(context)
        wanted = _plain(text)[0]
        places = [
            (characters[at], characters[at + len(wanted) - 1] + 1) for at in _occurrences(plain, wanted)
        ]
    whole = [position for position in places if not _cuts_words(context, *position)]
    return min(whole or places, key=lambda position: abs(position[0] - start), default=None)


def in_other_units(context: str, text: str, start: int) -> str:
    """The unit in which a text does begin at `start`; empty where it begins there in none."""
    if context.isascii() or start < 0:
        return ""
    for name, length in UNITS.items():
        if any(length(context[:at]) == start for at in _occurrences(context, text)):
            return name
    return ""


def characters_before(text: str, length: Callable[[str], int]) -> dict[int, int]:
    """The number of characters before each place of a text, by its number in another unit."""
    places, at = {0: 0}, 0
    for number, character in enumerate(text, start=1):
        at += length(character)
        places[at] = number
    return places


def _occurrences(context: str, text: str) -> Iterator[int]:
    at = context.find(text) if text else -1
    while at >= 0:
        yield at
        at = context.find(text, at + 1)


def _cuts_words(context: str, start: int, end: int) -> bool:
    begins_within = start > 0 and context[start - 1 : start + 1].isalnum()
    return begins_within or (end < len(context) and context[end - 1 : end + 1].isalnum())


@lru_cache(maxsize=16)  # the questions of a context come one after the other
def _plain(text: str) -> tuple[str, list[int]]:
    """A text without what may differ, and the character that each of its characters comes from."""
    plain: list[str] = []
    places: list[int] = []
    for position, character in enumerate(text):
        for part in _plain_character(character):
            if part == "-" and plain and plain[-1] == "-":
                continue
            plain.append(part)
            places.append(position)
    return "".join(plain), places


@cache
def _plain_character(character: str) -> str:
    if character.isspace() or unicodedata.category(character) == "Cf":
        return ""
    if character in _SINGLE_QUOTES:
        return "'"
    if character in _DOUBLE_QUOTES:
        return "''"
    if character in _DASHES or unicodedata.category(character) == "Pd":
        return "-"
    return character.casefold()


def elsewhere(text: str, start: int, context: str) -> str:
    """Where an answer stands that does not stand where it should, as the end of a message."""
    unit = in_other_units(context, text, start)
    if unit:
        return f" It does if the places are counted in {unit}: count characters (code points)."
    for how in WAYS:
        found = find(context, text, start, how)
        if found:
            shown = context[slice(*found)][:60]
            return f" `{shown}` stands at {found[0]}: `data.align_answers={how}` would find it."
    return ""
