"""Labels that are probably wrong: those that a probe, which did not see them, confidently answers otherwise.

One label a row, several labels, entities and numbers. A task without a probe (question answering) is left out.
What is listed is to be looked at: nothing is changed, since a hard row and a wrong label look alike to a model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.checks import Check, CheckedData, Finding, FoundRow
from tunesmith.checks._probing import CrossValidated, cross_validated
from tunesmith.checks._suspects import (
    CERTAIN_SHARE,
    FEWEST_CERTAIN,
    confidently_other,
    margins,
    suspects,
    wrong_share,
)

if TYPE_CHECKING:
    from tunesmith.types import Array, JsonObject

_WORTH_A_WARNING = 0.01
"""Lower bound of the share of wrong labels from which a finding is a warning."""
_FEWEST_LISTED, _LISTED_TIMES = 50, 2
"""Most rows that the probe contradicts are merely hard: twice as many are listed as may be wrong, at least 50."""
_MOST_NOTES = 3
_FEWEST_OF_A_LABEL = 16
"""Rows a label, in the mean. From 10 of each kind of question (trec), the probe is right about half of the time,
and 22 of 54 labels seemed wrong that are right."""
_FAR = 4.0
"""Robust standard deviations from which a number is listed: 1 of 16,000 normal errors."""


@dataclass(frozen=True)
class Doubt:
    """One label that is probably wrong.

    Args:
        row: row of the training split.
        score: by how much what is proposed is ahead of what is given; of a number, robust standard deviations.
        note: what is given, and what is proposed.
    """

    row: int
    score: float
    note: str


@dataclass(frozen=True)
class Estimate:
    """How many labels are wrong.

    Args:
        share: estimated share.
        low: lower end of its 95 % interval.
        high: upper end.
        n_certain: number of labels that it is from.
        total: number of labels that it is about.
        of: what these labels are.
        what: what they probably are.
    """

    share: float
    low: float
    high: float
    n_certain: int
    total: int
    of: str = "labels"
    what: str = "wrong"

    def __str__(self) -> str:
        return (
            f"about {round(self.share * self.total):,} of {self.total:,} {self.of} are probably {self.what} "
            f"({self.share:.1%}; 95 % interval {self.low:.1%} to {self.high:.1%})"
        )

    def to_json(self) -> JsonObject:
        """The figures."""
        interval = {"value": self.share, "low": self.low, "high": self.high}
        return {
            "share": interval,
            "certain": self.n_certain,
            "of": self.total,
            "about": self.share * self.total,
        }


def _find(data: CheckedData) -> Iterable[Finding]:
    probed = cross_validated(data)
    if probed is None:
        return
    names = list(data.label_schema.get("labels", ()))
    labels = probed.items.labels
    if not names:
        doubts, estimate = _of_numbers(probed), None
    elif labels.ndim == 2:
        doubts, estimate = _of_several(probed, names)
    elif probed.items.words is not None:
        doubts, estimate = _of_words(probed, names, data)
    elif len(labels) < _FEWEST_OF_A_LABEL * len(names):
        return
    else:
        doubts, estimate = _of_rows(probed, names)
    if doubts:
        yield _finding(data, probed, doubts, estimate)


def _finding(
    data: CheckedData, probed: CrossValidated, doubts: Sequence[Doubt], estimate: Estimate | None
) -> Finding:
    found = _by_row(doubts)
    evidence: JsonObject = {"contradicted": len(found), "strength": probed.strength}
    if estimate is None:
        said = f"a probe of the other rows contradicts {len(found):,} rows; how many are wrong is not known"
    else:
        found = found[: max(_FEWEST_LISTED, math.ceil(_LISTED_TIMES * estimate.high * estimate.total))]
        evidence["estimate"] = estimate.to_json()
        said = (
            f"{estimate}: so often a probe of the other rows contradicts the label where it is most certain; the "
            f"{len(found):,} surest suspects are listed"
        )
    severity = "warn" if estimate is not None and estimate.low >= _WORTH_A_WARNING else "note"
    return Finding(
        "label_errors",
        "warn" if severity == "warn" else "note",
        said,
        "Look through the rows from the top until most labels are right, and correct those that are wrong.",
        found,
        evidence,
    )


def _by_row(doubts: Sequence[Doubt]) -> list[FoundRow]:
    """One entry a row, the worst first."""
    ordered = sorted(doubts, key=lambda doubt: (doubt.row, -doubt.score))
    rows = []
    for row, group in groupby(ordered, key=lambda doubt: doubt.row):
        of_row = list(group)
        more = "; …" if len(of_row) > _MOST_NOTES else ""
        note = "; ".join(doubt.note for doubt in of_row[:_MOST_NOTES]) + more
        rows.append((of_row[0].score, FoundRow("train", row, of_row[0].score, note)))
    return [found for _, found in sorted(rows, key=lambda pair: -pair[0])]


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """[items, k], log-probabilities of one label each.

    Args:
        logits: [items, k].
    """
    from scipy.special import log_softmax as of_logits

    return np.asarray(of_logits(logits.astype(np.float64), axis=1))


def _of_rows(probed: CrossValidated, names: Sequence[str]) -> tuple[list[Doubt], Estimate]:
    labels = np.asarray(probed.items.labels, dtype=np.int64)
    found = suspects(log_softmax(probed.logits), labels)
    doubts = [
        Doubt(
            int(probed.items.rows[item]),
            float(found.margin[item]),
            f"`{names[labels[item]]}`, perhaps `{names[found.proposed[item]]}`",
        )
        for item in found.listed
    ]
    return doubts, Estimate(found.share, found.low, found.high, found.n_certain, len(labels))


def _of_several(probed: CrossValidated, names: Sequence[str]) -> tuple[list[Doubt], Estimate | None]:
    """Each label of each row is given or not: labels that are missing, and labels too many."""
    given = np.asarray(probed.items.labels) > 0.5
    doubts: list[Doubt] = []
    for label, name in enumerate(names):
        if given[:, label].any() and not given[:, label].all():
            doubts += _of_label(probed, label, name, given[:, label])
    return doubts, _missing_share(probed.logits, given)


def _of_label(probed: CrossValidated, label: int, name: str, given: NDArray[np.bool_]) -> Iterator[Doubt]:
    logp = two_way(probed.logits[:, label])
    state = given.astype(np.int64)
    margin, _ = margins(logp, state)
    for item in np.flatnonzero(confidently_other(np.exp(logp), state) & (margin > 0)):
        note = f"without `{name}`?" if given[item] else f"`{name}` missing?"
        yield Doubt(int(probed.items.rows[item]), float(margin[item]), note)


def two_way(logits: Array) -> NDArray[np.float64]:
    """[items, 2], log-probabilities that a label is absent and present.

    Args:
        logits: [items], of one label.
    """
    from scipy.special import log_expit

    wide = logits.astype(np.float64)
    return np.stack([log_expit(-wide), log_expit(wide)], axis=1)


def _missing_share(logits: NDArray[np.float32], given: NDArray[np.bool_]) -> Estimate | None:
    """The share of labels that are not given, of those of which the probe is most certain that they apply."""
    cells = logits.ravel()
    positive = np.flatnonzero(cells > 0)
    if len(positive) < FEWEST_CERTAIN / CERTAIN_SHARE:
        return None
    logp = two_way(cells[positive])
    share = wrong_share(logp, given.ravel()[positive].astype(np.int64))
    return Estimate(*share, len(positive), "labels that a probe gives", "missing, or the probe wrong")


def _of_words(
    probed: CrossValidated, names: Sequence[str], data: CheckedData
) -> tuple[list[Doubt], Estimate | None]:
    """Words, by the type of the entity that they are in; neighbours with the same doubt are one span."""
    types = list(dict.fromkeys(map(_type_of, names)))
    number = np.array([types.index(_type_of(name)) for name in names])
    logp = _summed(log_softmax(probed.logits), number, len(types))
    labels = number[np.asarray(probed.items.labels, dtype=np.int64)]
    found = suspects(logp, labels)
    in_order = np.sort(found.listed)
    spans = _neighbours(probed, in_order, labels, found.proposed)
    doubts = [_span_doubt(probed, span, labels, found.proposed, found.margin, types, data) for span in spans]
    entities = np.flatnonzero(logp.argmax(axis=1) != number[0])
    if len(entities) < FEWEST_CERTAIN / CERTAIN_SHARE:
        return doubts, None
    share = wrong_share(logp[entities], labels[entities])
    return doubts, Estimate(
        *share, len(entities), "words that a probe takes for entities", "labelled wrongly"
    )


def _type_of(tag: str) -> str:
    return tag[2:] if tag[:2] in ("B-", "I-") else tag


def _summed(logp: NDArray[np.float64], number: NDArray[np.int64], n_types: int) -> NDArray[np.float64]:
    """[items, types], log-probabilities of types, of several tags each."""
    from scipy.special import logsumexp

    return np.stack([logsumexp(logp[:, number == one], axis=1) for one in range(n_types)], axis=1)


def _neighbours(
    probed: CrossValidated,
    items: NDArray[np.int64],
    labels: NDArray[np.int64],
    proposed: NDArray[np.int64],
) -> list[NDArray[np.int64]]:
    """Items in groups of words side by side in one row, with the same label and proposal."""
    if not len(items):
        return []
    assert probed.items.words is not None
    # Words that one token spans have no item of their own; neighbours are then items side by side.
    same = (np.diff(items) == 1) & (np.diff(probed.items.rows[items]) == 0)
    same &= (np.diff(labels[items]) == 0) & (np.diff(proposed[items]) == 0)
    return np.split(items, np.flatnonzero(~same) + 1)


def _span_doubt(
    probed: CrossValidated,
    span: NDArray[np.int64],
    labels: NDArray[np.int64],
    proposed: NDArray[np.int64],
    margin: NDArray[np.float64],
    types: Sequence[str],
    data: CheckedData,
) -> Doubt:
    row = int(probed.items.rows[span[0]])
    assert probed.items.words is not None
    first, last = (int(probed.items.words[item]) for item in (span[0], span[-1]))
    train = data.splits["train"].columns
    bounds = train["words"][row]
    text = train["text"][row][bounds[first][0] : bounds[last][1]]
    given, other = types[labels[span[0]]], types[proposed[span[0]]]
    return Doubt(row, float(margin[span].max()), f"“{text}”: `{given}`, perhaps `{other}`")


def _of_numbers(probed: CrossValidated) -> list[Doubt]:
    """Numbers that are far from what the probe expects; the score is in robust standard deviations."""
    labels = np.asarray(probed.items.labels, dtype=np.float64)
    given = labels.reshape(len(labels), -1)[:, 0]  # behind it stands the unit of the loss
    expected = probed.logits[:, 0].astype(np.float64)
    off = given - expected
    centred = np.abs(off - np.median(off))
    deviation = 1.4826 * float(np.median(centred))
    if deviation == 0:
        return []
    return [
        Doubt(int(probed.items.rows[item]), float(centred[item] / deviation), _numbers(given, expected, item))
        for item in np.flatnonzero(centred > _FAR * deviation)
    ]


def _numbers(given: NDArray[np.float64], expected: NDArray[np.float64], item: np.signedinteger) -> str:
    return f"{given[item]:g}, expected about {expected[item]:.3g}"


check = Check("labels that a probe of the other rows contradicts", _find, needs_features=True)
