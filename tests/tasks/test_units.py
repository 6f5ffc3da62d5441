"""Which token decides which words, on offsets written by hand."""

import numpy as np
import pytest

from tunesmith.tasks import IGNORED
from tunesmith.tasks._units import Units, tags_of

O, B, I = 0, 1, 2  # noqa: E741
IDS = {"O": O, "B-X": B, "I-X": I}
INSIDE = np.array([O, I, I])


def units_of(offsets, bounds):
    return Units.of(np.array(offsets).reshape(-1, 2), np.array(bounds).reshape(-1, 2))


def deciding(units):
    """(token, first word, last word) of every unit."""
    return list(zip(units.tokens.tolist(), units.first.tolist(), units.last.tolist(), strict=True))


@pytest.mark.parametrize(
    ("offsets", "bounds", "expected"),
    [
        # the| cat, in pieces: the first of each word decides
        ([(0, 3), (4, 5), (5, 7)], [(0, 3), (4, 7)], [(0, 0, 0), (1, 1, 1)]),
        # the blank before a word is in its token
        ([(0, 3), (3, 7)], [(0, 3), (4, 7)], [(0, 0, 0), (1, 1, 1)]),
        # the blank before a word as a token of its own, with its width or without: the token after it decides
        ([(0, 3), (3, 4), (4, 7)], [(0, 3), (4, 7)], [(0, 0, 0), (2, 1, 1)]),
        ([(0, 3), (4, 4), (4, 7)], [(0, 3), (4, 7)], [(0, 0, 0), (2, 1, 1)]),
        # it|'s with one token for 's
        ([(0, 2), (2, 4)], [(0, 2), (2, 3), (3, 4)], [(0, 0, 0), (1, 1, 2)]),
        # 南京市 as one token
        ([(0, 3)], [(0, 1), (1, 2), (2, 3)], [(0, 0, 2)]),
        # bytes of a b, where one token has bytes of both: each character has a token of its own
        ([(0, 1), (0, 2), (1, 2)], [(0, 1), (1, 2)], [(0, 0, 0), (1, 1, 1)]),
        # and where the first has all of a and some of b, b takes the next
        ([(0, 2), (1, 2)], [(0, 1), (1, 2)], [(0, 0, 0), (1, 1, 1)]),
        # a word without a token is part of no unit
        ([(0, 1), (2, 3)], [(0, 1), (1, 2), (2, 3)], [(0, 0, 0), (1, 2, 2)]),
        ([], [(0, 1)], []),
        ([(0, 1)], [], []),
    ],
)
def test_units(offsets, bounds, expected):
    assert deciding(units_of(offsets, bounds)) == expected


def labels_of(offsets, bounds, entities):
    units = units_of(offsets, bounds)
    tags = tags_of(units, np.array(bounds), entities, IDS)
    return units.labels(tags.units, INSIDE).tolist(), (tags.off_words, tags.off_tokens)


def test_what_tokens_cannot_express_is_counted():
    offsets, bounds = [(0, 2), (2, 4)], [(0, 2), (2, 3), (3, 4)]
    assert labels_of(offsets, bounds, [(0, 4, "X")]) == ([B, I], (0, 0))
    assert labels_of(offsets, bounds, [(0, 3, "X")]) == ([B, I], (0, 1)), "it ends within the second token"
    assert labels_of(offsets, bounds, [(0, 1, "X")]) == ([B, O], (1, 0)), "it ends within a word"
    assert labels_of(offsets, bounds, [(2, 3, "X"), (3, 4, "X")]) == ([O, B], (0, 2)), "two in one token"
    assert labels_of([(2, 3)], [(0, 1), (2, 3)], [(0, 1, "X")]) == ([O], (0, 1)), "its word has no token"


def test_a_dropped_sign_within_an_entity_is_part_of_it():
    assert labels_of([(0, 1), (2, 3)], [(0, 1), (1, 2), (2, 3)], [(0, 3, "X")]) == ([B, I], (0, 0))


def test_what_the_pipeline_takes_for_words_is_labelled():
    """Two bytes of É, then its blank alone, then two bytes of Ñ and a piece: É Ña."""
    offsets = [(0, 1), (0, 1), (2, 2), (2, 3), (2, 3), (3, 4)]
    bounds = [(0, 1), (2, 4)]
    assert labels_of(offsets, bounds, [(0, 4, "X")])[0] == [B, I, I, I, I, IGNORED]
    assert labels_of(offsets, bounds, [(2, 4, "X")])[0] == [O, O, O, B, I, IGNORED]
    assert labels_of(offsets, bounds, [])[0] == [O, O, O, O, O, IGNORED]
    # Within what blanks part, the pipeline takes no token for a word.
    assert labels_of([(0, 1), (1, 2), (1, 2)], [(0, 1), (1, 2)], [(0, 2, "X")])[0] == [B, I, IGNORED]
