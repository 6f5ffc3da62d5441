"""The location of a text within another, if its spelling differs a little or its offset is wrong.

Answers are often copied by hand or through a tokenizer: `$ 35 per night` for `$35 per night`. Offsets are often
counted in other units than characters: a browser counts UTF-16 units, Go and Rust count bytes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, lru_cache

WAYS = ("nearby", "normalized")
"""Ways to search for an answer that is not at its offset."""

_SINGLE_QUOTES = frozenset("'`´‘’‚‛‹›′")
_DOUBLE_QUOTES = frozenset('"“”„‟«»″')
_DASHES = frozenset("\u2212\u2043")

UNITS: dict[str, Callable[[str], int]] = {
    "UTF-16 units, as JavaScript and Java count": lambda text: len(text.encode("utf-16-le")) // 2,
    "bytes of UTF-8, as Go and Rust count": lambda text: len(text.encode("utf-8")),
}
"""Units in which offsets are counted by mistake, and the length of a text in each."""


def find(context: str, text: str, start: int, how: str) -> tuple[int, int] | None:
    """The location of a text nearest to `start`: (first character, character after the last); None if not found.

    Locations of whole words are preferred: if there are any, those that cut a word are ignored.

    Args:
        context: text in which to search.
        text: text to search for.
        start: expected offset.
        how: `nearby`: the same text; `normalized`: also with other white space, quotes, dashes and case.
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
    """The unit in which a text begins at `start`; empty if there is none."""
    if context.isascii() or start < 0:
        return ""
    for name, length in UNITS.items():
        if any(length(context[:at]) == start for at in _occurrences(context, text)):
            return name
    return ""


def characters_before(text: str, length: Callable[[str], int]) -> dict[int, int]:
    """Offsets in characters, by offset in another unit."""
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


@lru_cache(maxsize=16)  # the questions of a context follow each other
def _plain(text: str) -> tuple[str, list[int]]:
    """A normalised text, and for each of its characters the index of the original one."""
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
    """The location of an answer that is not at its offset, as the end of a message."""
    unit = in_other_units(context, text, start)
    if unit:
        return f" It is there if offsets are counted in {unit}: count characters (code points)."
    for how in WAYS:
        found = find(context, text, start, how)
        if found:
            shown = context[slice(*found)][:60]
            return f" `{shown}` is at {found[0]}: `data.align_answers={how}` would find it."
    return ""
