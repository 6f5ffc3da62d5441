"""Whether the offsets of a file count something else than characters, from all its rows together.

A browser counts UTF-16 units, of which an emoji has two. Some tools count bytes. Some give the last character of a
span, and not the one after it. Each of these moves spans off the borders of words, and a conversion moves them
back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tunesmith.tasks._alignment import UNITS, characters_before
from tunesmith.tasks._tags import Span

_LEAST = 3
_MOST_RIGHT, _LEAST_PUT_RIGHT = 0.5, 0.9
_INCLUSIVE = "an end that is the last character itself"

_CONVERT = (
    "Count characters (code points); in Python, `len(text.encode(CODE)[:N].decode(CODE))` converts an offset"
)
_REMEDIES = {
    **{
        name: _CONVERT.replace("CODE", repr(code)).replace("N", times)
        for name, code, times in zip(UNITS, ("utf-16-le", "utf-8"), ("2 * offset", "offset"), strict=True)
    },
    _INCLUSIVE: "Give the character after the last: add 1 to every end",
}


def notice(rows: Iterable[tuple[str, Sequence[Sequence[int]], Sequence[Span]]]) -> list[str]:
    """A notice if the entities of a file are off the borders of words in a common way; else nothing.

    Args:
        rows: text, words and entities of each row, in characters.
    """
    counts = _Counts()
    for text, words, entities in rows:
        counts.add(text, {start for start, _ in words}, {end for _, end in words}, entities)
    return counts.pattern()


def outside(start: int, end: int, text: str) -> str:
    """The message that an entity is outside its text, with the unit in which it would be inside."""
    plain = f"entity {start} to {end} is outside its text of {len(text)} characters."
    unit = next((name for name, length in UNITS.items() if end <= length(text)), "")
    return (
        f"{plain} In {unit}, it would be inside. {_REMEDIES[unit]}." if unit and 0 <= start < end else plain
    )


def _blanks(text: str) -> int:
    """Number of white-space characters at the start of a text."""
    return len(text) - len(text.lstrip())


@dataclass
class _Counts:
    """Counts of entities; of those that another way of counting moves: all, right before, and right after.

    White space at the edges of spans was removed, so each of its positions may be the original offset.
    """

    entities: int = 0
    off: int = 0
    moved: Counter[str] = field(default_factory=Counter)
    fitted: Counter[str] = field(default_factory=Counter)
    put_right: Counter[str] = field(default_factory=Counter)

    def add(self, text: str, starts: set[int], ends: set[int], entities: Sequence[Span]) -> None:
        self.entities += len(entities)
        self.off += sum(start not in starts or end not in ends for start, end, _ in entities)
        for _, end, _ in entities:
            given = range(end, end + _blanks(text[end:]) + 1)
            self._count(_INCLUSIVE, end in ends, any(position + 1 in ends for position in given))
        if text.isascii() or not entities:
            return
        for name, length in UNITS.items():
            places = characters_before(text, length)
            for start, _, _ in entities:
                given = range(start - _blanks(text[:start][::-1]), start + 1)
                if places.get(start) != start:
                    self._count(
                        name, start in starts, any(places.get(position) in starts for position in given)
                    )

    def _count(self, name: str, fits: bool, fits_if_moved: bool) -> None:
        self.moved[name] += 1
        self.fitted[name] += fits
        self.put_right[name] += fits_if_moved

    def pattern(self) -> list[str]:
        for name, moved in self.moved.items():
            right = self.put_right[name]
            if right >= max(_LEAST, _LEAST_PUT_RIGHT * moved) and self.fitted[name] <= _MOST_RIGHT * moved:
                return [
                    f"{self.off} of {self.entities} entities begin or end within a word. Their offsets seem to be "
                    f"counted in {name}: then {right} of {moved} would be right. {_REMEDIES[name]}"
                ]
        return []
