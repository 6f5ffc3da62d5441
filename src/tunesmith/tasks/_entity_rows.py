"""Rows with entities: words with tags, or a text with spans of characters."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.segmentation import entity_word_bounds
from tunesmith.tasks import RowError, Values
from tunesmith.tasks import _offsets as offsets
from tunesmith.tasks._tags import Span, refuse_numbers, spans_of_tags
from tunesmith.tasks._values import list_of, text_of

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def read_tokens(row: Values) -> JsonObject:
    """A row of words, with tags or without.

    Raises:
        RowError: the words or the tags cannot be used.
    """
    tokens = list_of(row["tokens"], "tokens")
    if not tokens:
        raise RowError("tokens is empty.")
    tokens = [text_of(token, "a token") if str(token).lower() != "nan" else str(token) for token in tokens]
    starts = np.cumsum([0, *(len(token) + 1 for token in tokens)])
    words = [[int(start), int(start) + len(token)] for start, token in zip(starts, tokens, strict=False)]
    example: JsonObject = {"text": " ".join(tokens), "words": words}
    if "tags" not in row:
        return example
    tags = list_of(row["tags"], "tags")
    if len(tags) != len(tokens):
        raise RowError(f"{len(tokens)} tokens and {len(tags)} tags.")
    refuse_numbers(tags)
    entities = [[words[a][0], words[b - 1][1], label] for a, b, label in spans_of_tags(tags)]
    return {**example, "entities": entities, "tags": tags}


def read_text(row: Values) -> JsonObject:
    """A text, with entities as spans of its characters or without.

    Raises:
        RowError: the text or an entity cannot be used.
    """
    text = text_of(row["text"], "text")
    example: JsonObject = {"text": text, "words": [list(span) for span in entity_word_bounds(text)]}
    if "entities" not in row:
        return example
    entities = sorted(_entity(value, text) for value in list_of(row["entities"], "entities"))
    for one, other in pairwise(entities):
        if one[1] > other[0]:
            raise RowError(f"entities overlap: `{text[one[0] : one[1]]}` and `{text[other[0] : other[1]]}`.")
    return {**example, "entities": [list(span) for span in entities]}


def _entity(value: object, text: str) -> Span:
    """A span from {start, end, label} or [start, end, label], without white space at its edges."""
    if isinstance(value, dict):
        names = ("label", "entity_group", "entity", "type", "tag")
        label = next((value[name] for name in names if isinstance(value.get(name), str)), None)
        value = (value.get("start"), value.get("end"), label)
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        raise RowError(f"an entity must have start, end and label, got `{value}`.")
    start, end, label = value
    if not isinstance(start, int) or not isinstance(end, int) or not isinstance(label, str) or not label:
        raise RowError(f"an entity must have start, end and label, got `{value}`.")
    if not 0 <= start < end <= len(text):
        raise RowError(offsets.outside(start, end, text))
    covered = text[start:end]
    start, end = start + len(covered) - len(covered.lstrip()), end - len(covered) + len(covered.rstrip())
    if start >= end:
        raise RowError(f"entity {value[0]} to {value[1]} covers only white space.")
    return start, end, label
