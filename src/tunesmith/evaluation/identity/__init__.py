"""Words for groups of people, and texts in which they are exchanged.

A file `KIND.yaml` of this folder is a list: its rationale as a comment, groups, and for each group its word
for each slot. A word is replaced by the one of another group in the same slot. Where words of both groups
stand in a text, they change places ("he told her"). The words are English. A user's own list is a file of the
same form.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tunesmith.errors import RecipeError, did_you_mean
from tunesmith.recipe.loader import YAML_ERRORS, Loader

if TYPE_CHECKING:
    from collections.abc import Sequence

_FOLDER = Path(__file__).parent
PERSON = "person"
"""The slot that fills a template."""
_POSSESSIVE, _OBJECT = "possessive", "object"
_NO_NOUN = re.compile(
    r"a|an|the|and|or|but|to|in|on|at|of|for|with|from|by|as|is|was|are|were|that|this|if|when|how|what|why|who|"
    r"again|because|about|into|over|after|before|so|then|not|no|too|up|out|off|down|away|back|here|there|home"
)
"""Words before which `her` is no possessive."""


@dataclass(frozen=True)
class Terms:
    """One list.

    Args:
        name: kind of the terms.
        groups: by group, the word of each slot.
        case: whether the words are found with their capitals only.
    """

    name: str
    groups: Mapping[str, Mapping[str, str]]
    case: bool = False

    def mentions(self, text: str) -> Counter[str]:
        """How often each group is mentioned in a text."""
        return Counter(group for _, group, _ in self._found(text))

    def exchanged(self, text: str) -> Iterator[tuple[str, str, str]]:
        """The text with the group that it mentions most in another group's place.

        Yields:
            The group, the other group, and the text; nothing where no word has a counterpart.
        """
        found = list(self._found(text))
        counts = Counter(group for _, group, _ in found)
        if not counts:
            return
        one = min(counts, key=lambda group: (-counts[group], list(self.groups).index(group)))
        for other in self.groups:
            if other != one and (changed := self._swapped(text, found, one, other)) != text:
                yield one, other, changed

    def filled(self, template: str) -> dict[str, str]:
        """A template with the person of each group."""
        return {
            group: _begun(template.replace("{person}", words[PERSON])) for group, words in self.groups.items()
        }

    def _found(self, text: str) -> Iterator[tuple[re.Match[str], str, str]]:
        """Each word of a group: where it stands, the group, and the slot."""
        pattern, slots = _pattern(self)
        for match in pattern.finditer(text):
            word = match.group()
            known = slots[word if self.case else word.lower()]
            yield match, *(known[0] if len(known) == 1 else _meant(known, text[match.end() :]))

    def _swapped(
        self, text: str, found: Sequence[tuple[re.Match[str], str, str]], one: str, other: str
    ) -> str:
        parts, end = [], 0
        for match, group, slot in found:
            to = {one: other, other: one}.get(group)
            word = self.groups[to].get(slot) if to is not None else None
            if word is None:
                continue
            before = text[end : match.start()]
            parts += [_with_article(before, word), self._cased(word, match, self.groups[group][slot])]
            end = match.end()
        return "".join([*parts, text[end:]])

    def _cased(self, word: str, match: re.Match[str], own: str) -> str:
        """A word in the case of the one that it replaces, whose form in the list is `own`."""
        like, before = match.group(), match.string[: match.start()].rstrip()
        if len(like) > 1 and like.isupper() and not own.isupper():
            return word.upper()
        begins = not before or before[-1] in ".!?"
        is_raised = like[:1].isupper() and (begins or not own[:1].isupper())
        return _begun(word) if is_raised else word


def _meant(known: Sequence[tuple[str, str]], after: str) -> tuple[str, str]:
    """The slot of a word that has several: `her` before a noun is a possessive."""
    following = re.match(r"\s+([^\W\d_]+)", after)
    is_possessive = following is not None and not _NO_NOUN.fullmatch(following[1].lower())
    wanted = _POSSESSIVE if is_possessive else _OBJECT
    return next((each for each in known if each[1] == wanted), known[0])


def _with_article(before: str, word: str) -> str:
    """What stands before a word, with `a` or `an` as the word needs it."""
    article = "an" if word[:1].lower() in "aeiou" else "a"
    return re.sub(
        r"\b([Aa])n?(\s+)$", lambda it: (article.capitalize() if it[1] == "A" else article) + it[2], before
    )


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]


@cache
def _compiled(name: str, words: tuple[tuple[str, str, str], ...], case: bool) -> tuple[re.Pattern[str], Any]:
    slots: dict[str, list[tuple[str, str]]] = {}
    for group, slot, word in words:
        slots.setdefault(word if case else word.lower(), []).append((group, slot))
    longest = sorted(slots, key=len, reverse=True)
    pattern = r"(?<![\w-])(?:" + "|".join(map(re.escape, longest)) + r")(?![\w-])"
    return re.compile(pattern, 0 if case else re.IGNORECASE), slots


def _pattern(terms: Terms) -> tuple[re.Pattern[str], dict[str, list[tuple[str, str]]]]:
    words = tuple(
        (group, slot, word)
        for group, by_slot in terms.groups.items()
        for slot, word in by_slot.items()
        if slot != PERSON
    )
    return _compiled(terms.name, words, terms.case)


def kinds() -> list[str]:
    """The names of the lists of this package."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def templates() -> list[str]:
    """Sentences with a place for a person."""
    lines = (_FOLDER / "templates.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip()]


def load_terms(asked: str) -> Terms:
    """A list of this package by its name, or a file.

    Raises:
        RecipeError: there is no such list, or it is not of the form.
    """
    path = _FOLDER / f"{asked}.yaml" if asked in kinds() else Path(asked)
    if not path.is_file():
        raise RecipeError(
            f"there is no list of identity terms `{asked}`.",
            remedy=f"{did_you_mean(asked, kinds())} Or name a YAML file of your own.",
            location="evaluate.identity_terms",
        )
    try:
        read = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
        groups = {
            str(group): {str(k): str(v) for k, v in words.items()} for group, words in read["groups"].items()
        }
    except (*YAML_ERRORS, KeyError, TypeError, AttributeError):
        raise RecipeError(
            "a list of identity terms needs `groups`, and for each group its word for each slot.",
            location=str(path),
            remedy="docs/trust.md has an example.",
        ) from None
    if len(groups) < 2 or any(PERSON not in words for words in groups.values()):
        raise RecipeError(
            "a list of identity terms needs two groups or more, each with a word for `person`.",
            location=str(path),
            remedy="docs/trust.md has an example.",
        )
    return Terms(str(read.get("name", path.stem)), groups, bool(read.get("case", False)))
