"""Words, characters and sentences of a text in any script (after Unicode's UAX #29).

Three rules hold for English, but not for all languages: a word is a run of letters (a vowel sign of Hindi is a
mark, not a letter), spaces separate words (Chinese, Japanese, Thai, Lao, Khmer and Burmese have none), and a
sentence ends with one of `.!?`. Here a mark stays with its letter, and in scripts without spaces each character
with its marks is a word. Texts in ASCII use plain patterns, which are several times as fast and give the same
words.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

Bounds = tuple[int, int]
"""The first character of a word, and the one after its last."""

_ASCII_WORD = re.compile(r"[^\W_]+|[^\w\s]|_")
_ASCII_RUN = re.compile(r"\w+")
_ASCII_STRETCH = re.compile(r"\S+|\s+")

_UNSPACED = (
    "".join(
        rf"\p{{Script={name}}}"
        for name in (
            "Han",
            "Hiragana",
            "Katakana",
            "Bopomofo",
            "Yi",
            "Thai",
            "Lao",
            "Khmer",
            "Myanmar",
            "Tai_Le",
            "New_Tai_Lue",
            "Tai_Tham",
            "Tai_Viet",
            "Javanese",
            "Balinese",
        )
    )
    + "\u30fc\uff70"
)  # the marks of length that kana share
"""Scripts that are written without spaces between words."""

_MARKS = r"(?:\p{M}|[\u200c\u200d](?=[\p{L}\p{N}\p{M}]))+"
"""Characters that stay with the letter before them: marks, including viramas, and joiners within a word."""


def _run(letters: str) -> str:
    """Letters of a set, each with its marks."""
    return rf"{letters}+(?:{_MARKS}{letters}*)*"


_PATTERNS = {
    "word": _run(rf"[[\p{{L}}\p{{N}}]--[{_UNSPACED}]]") + r"|(?!\s)\X",
    # In Korean, particles follow a name without a space: a name ends before a syllable, not before a space.
    "entity_word": _run(rf"[[\p{{L}}\p{{N}}]--[{_UNSPACED}\p{{Hangul}}]]") + r"|(?!\s)\X",
    "run": _run(rf"[[\p{{L}}\p{{N}}_]--[{_UNSPACED}]]") + rf"|(?=[{_UNSPACED}])\X",
    "character": r"\X",
    "stretch": rf"\s+|(?=[{_UNSPACED}])\X|[^\s{_UNSPACED}]+",
    "punctuation": r"\p{P}",
    # Punctuation of Latin texts (`–`, `’`, `«`) belongs to no single script.
    "script_punctuation": r"[\p{P}--[\u0000-\u036f\u2000-\u206f]]",
    "unspaced": rf"[{_UNSPACED}]",
    "marked": rf"[{_UNSPACED}\p{{M}}\u200c\u200d]",
    # `.`, `!`, `?` and `…` also occur within sentences, without white space after them; the others do not.
    "sentence": r"(?s).+?(?:[.!?…](?=\s|$)|(?:(?![.!?…])\p{Sentence_Terminal})+[\p{Pe}\p{Pf}\"']*)",
}


@cache
def _pattern(name: str) -> regex.Pattern:
    import regex

    return regex.compile(_PATTERNS[name], regex.V1)


def word_bounds(text: str) -> list[Bounds]:
    """The spans of words: runs of letters and digits with their marks, and every other sign alone.

    A character of a script without spaces is a word, and so is an emoji of several code points.
    """
    pattern = _ASCII_WORD if text.isascii() else _pattern("word")
    return [match.span() for match in pattern.finditer(text)]


def entity_word_bounds(text: str) -> list[Bounds]:
    """The spans at which entities can begin and end: words, and in Korean syllables."""
    pattern = _ASCII_WORD if text.isascii() else _pattern("entity_word")
    return [match.span() for match in pattern.finditer(text)]


def words(text: str) -> list[str]:
    """The words for scores: runs of letters, digits and `_`; in scripts without spaces, characters."""
    return list((_ASCII_RUN if text.isascii() else _pattern("run")).findall(text))


def characters(text: str) -> list[str]:
    """The characters for a reader: letters with their marks, joined emoji (grapheme clusters)."""
    return list(text) if text.isascii() else _pattern("character").findall(text)


def stretches(text: str) -> list[str]:
    """All pieces of a text: runs between spaces, the spaces, and characters of scripts without spaces."""
    return list((_pattern("stretch") if has_unspaced(text) else _ASCII_STRETCH).findall(text))


def without_punctuation(text: str) -> str:
    """A text without the punctuation of single scripts; in a script without spaces, without any punctuation."""
    if text.isascii():
        return text
    name = "punctuation" if has_unspaced(text) else "script_punctuation"
    return str(_pattern(name).sub("", text))


def has_unspaced(text: str) -> bool:
    """Whether a part of a text is in a script without spaces."""
    return not text.isascii() and _pattern("unspaced").search(text) is not None


def needs_rules(text: str) -> bool:
    """Whether runs of letters are not the words of a text: it has marks, or no spaces between words."""
    return not text.isascii() and _pattern("marked").search(text) is not None


def sentences(text: str) -> list[str]:
    """The sentences of a text, without the spaces around them; the whole text if no sentence ends."""
    found, at = [], 0
    while match := _pattern("sentence").match(text, at):
        found.append(match.group())
        at = match.end()
    return [stripped for one in (*found, text[at:]) if (stripped := one.strip())] or [text]


def first_sentence(text: str) -> str:
    """A text up to the end of its first sentence; the whole text if no sentence ends."""
    match = _pattern("sentence").match(text)
    return str(match.group()) if match else text
