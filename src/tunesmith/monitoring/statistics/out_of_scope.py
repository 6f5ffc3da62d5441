"""The share of texts out of scope, and what they are about: groups of near texts are candidates for a new label.

Groups are found over all windows together, by average linkage of the cosines of the vectors. Each has examples,
and the words that its texts have and the training texts have not. A text that comes again counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.monitoring.observed import Observed
from tunesmith.monitoring.statistics import Compared, Measured, Statistic
from tunesmith.monitoring.statistics._shares import measured_share
from tunesmith.monitoring.statistics.input_drift import shown_row
from tunesmith.monitoring.texts import telling_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.monitoring.reference import Reference
    from tunesmith.types import JsonObject

_FEWEST_ROWS = 5
_MOST_ROWS = 2_000
_MOST_GROUPS = 8
_NEAR = 0.4
"""Cosine distance from the mean text below which texts belong together."""
_SHOWN_ROWS, _SHOWN_WORDS = 5, 6
_WORD_Z = 4.0


def _measure(compared: Compared) -> Measured:
    return measured_share(compared, "out_of_scope", "of the texts are out of scope")


def _conclude(reference: Reference, windows: Sequence[Observed]) -> JsonObject:
    """The groups of texts out of scope, the largest first."""
    out = [rows.take(np.flatnonzero(rows.number("out_of_scope") > 0)) for rows in windows]
    rows = Observed.join(out) if out else Observed(0)
    vectors = rows.vectors if rows.vectors is not None else rows.words
    if len(rows) < _FEWEST_ROWS or vectors is None:
        return {"rows": len(rows), "groups": []}
    first = np.sort(np.unique(vectors, axis=0, return_index=True)[1])
    spread = first[np.unique(np.linspace(0, len(first) - 1, min(_MOST_ROWS, len(first))).astype(np.int64))]
    rows, vectors = rows.take(spread), vectors[spread]
    if len(rows) < _FEWEST_ROWS:
        return {"rows": sum(map(len, out)), "groups": []}
    centre = reference.rows.vectors if rows.vectors is not None else reference.rows.words
    found = groups_of(vectors if centre is None else vectors - centre.mean(axis=0))
    return {"rows": sum(map(len, out)), "groups": [_described(reference, rows, group) for group in found]}


def groups_of(vectors: NDArray[np.floating]) -> list[NDArray[np.int64]]:
    """The groups of near vectors, the largest first; the rows of each begin with those nearest to its middle.

    Args:
        vectors: [rows, d].
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    numbers = fcluster(linkage(unit, "average", "cosine"), 1 - _NEAR, "distance")
    sizes = np.bincount(numbers)
    largest = [int(n) for n in np.argsort(-sizes, kind="stable")[:_MOST_GROUPS] if sizes[n] >= _FEWEST_ROWS]
    found = []
    for number in largest:
        members = np.flatnonzero(numbers == number)
        nearness = unit[members] @ unit[members].mean(axis=0)
        found.append(members[np.argsort(-nearness, kind="stable")])
    return found


def _described(reference: Reference, rows: Observed, group: NDArray[np.int64]) -> JsonObject:
    return {
        "rows": len(group),
        "words": _words(reference, [rows.texts[row] for row in group] if rows.texts else []),
        "examples": [shown_row(rows, int(row)) for row in group[:_SHOWN_ROWS]],
    }


def _words(reference: Reference, texts: Sequence[str]) -> list[str]:
    """The words that tell the texts of a group from the training texts."""
    found = telling_words(texts, reference.vocabulary, least=_WORD_Z)
    return [word for word, here, there in found if here > there][:_SHOWN_WORDS]


statistic = Statistic(
    "texts unlike anything in training, and groups of them",
    "Out of scope",
    "share",
    _measure,
    conclude=_conclude,
)
