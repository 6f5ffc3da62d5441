"""Entities as spans of characters, and as tags of words: IOB1, IOB2, IOBES, BILOU.

All schemes are read by one rule: an entity begins at B, S or U, or at any tag of a type that does not continue the
entity before it. It ends at E, L, S or U. In IOB2, an entity that begins with I breaks the scheme; it is repaired
and counted. In IOB1, this is the rule (Tjong Kim Sang and Veenstra 1999).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.tasks import RowError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Span = tuple[int, int, str]
"""(start, end, label), in characters or in words."""

_BEGINS, _ENDS = frozenset("BSU"), frozenset("ELSU")
_PREFIXES = frozenset("BIESLUM")


def split_tag(tag: str) -> tuple[str, str]:
    """The prefix and type of a tag: (`B`, `PER`); (`O`, ``) for no entity.

    Raises:
        RowError: the tag has no prefix.
    """
    if tag == "O":
        return "O", ""
    prefix, dash, label = tag.partition("-")
    if prefix in _PREFIXES and dash and label:
        return prefix, label
    raise RowError(
        f"tag `{tag}` must be `O` or have a prefix, like `B-PERSON`.",
        hint="A plain tag does not say where an entity begins: write `B-PER` for its first word, `I-PER` for the "
        "words that follow, and `O` for all others.",
    )


def refuse_numbers(tags: Sequence[object]) -> None:
    """Raises a RowError if tags are not names."""
    number = next((tag for tag in tags if not isinstance(tag, str)), None)
    if number is not None or None in tags:
        raise RowError(
            f"tags must be names like `B-PERSON`, got `{number!r}`.",
            hint="The file does not hold the names of the numbers; write the names instead.",
        )


def spans_of_tags(tags: Sequence[str]) -> list[Span]:
    """Entities (first word, word after the last, type).

    Raises:
        RowError: a tag has no prefix.
    """
    spans: list[Span] = []
    start, open_label = 0, ""
    for position, tag in enumerate([*tags, "O"]):
        prefix, label = split_tag(tag)
        if open_label and (prefix == "O" or prefix in _BEGINS or label != open_label):
            spans.append((start, position, open_label))
            open_label = ""
        if label and not open_label:
            start, open_label = position, label
        if open_label and prefix in _ENDS:
            spans.append((start, position + 1, open_label))
            open_label = ""
    return spans


def scheme_of(rows: Iterable[Sequence[str]]) -> tuple[str, int]:
    """The scheme of the tags, and the number of entities that break it.

    Args:
        rows: tags of each sentence.
    """
    prefixes: set[str] = set()
    begun_with_b = begun_with_i = 0
    for tags in rows:
        before = ("O", "")
        for tag in tags:
            now = split_tag(tag)
            prefixes.add(now[0])
            is_begin = before[1] != now[1] or before[0] in _ENDS
            begun_with_b += now[0] == "B" and is_begin
            begun_with_i += now[0] == "I" and is_begin
            before = now
    if prefixes & set("ES"):
        return "IOBES", begun_with_i
    if prefixes & set("LU"):
        return "BILOU", begun_with_i
    # In IOB1, B is only used between two entities of one type that touch.
    return ("IOB1", 0) if begun_with_i > begun_with_b else ("IOB2", begun_with_i)


def allowed_tags(labels: Sequence[str]) -> NDArray[np.bool_]:
    """[k + 1, k], whether a tag may follow another; the last row is the beginning."""
    k = len(labels)
    allowed = np.ones((k + 1, k), dtype=bool)
    for j, label in enumerate(labels):
        if label.startswith("I-"):
            allowed[:, j] = [other[2:] == label[2:] for other in labels] + [False]
    return allowed


def most_probable(log_probabilities: NDArray[np.float32], allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The most probable sequence of tags [words] in which every tag may follow the one before it (Viterbi).

    Args:
        log_probabilities: [words, k].
        allowed: [k + 1, k]; the last row is the beginning.
    """
    best = log_probabilities.argmax(-1)
    before = np.concatenate([[len(allowed) - 1], best[:-1]]) if len(best) else best
    if allowed[before, best].all():
        return np.asarray(best)
    costs = np.where(allowed, 0.0, -np.inf)
    score = log_probabilities[0] + costs[-1]
    back = np.zeros(log_probabilities.shape, dtype=np.int64)
    for word in range(1, len(log_probabilities)):
        through = score[:, None] + costs[:-1]
        back[word] = through.argmax(0)
        score = through[back[word], np.arange(through.shape[1])] + log_probabilities[word]
    tags = np.zeros(len(log_probabilities), dtype=np.int64)
    tags[-1] = score.argmax()
    for word in range(len(tags) - 1, 0, -1):
        tags[word - 1] = back[word, tags[word]]
    return tags
