"""Which label is answered where some are rare: offsets of the outputs, fitted on the validation rows.

A model that says how probable each label is answers a rare label seldom: that gives the best accuracy, and a poor
macro F1, in which each label counts the same. Offsets are added to the outputs before the answer is chosen, so
that the probabilities stay what they are. Two ways to find them:

- `prior`: minus the logarithm of the label's share of the training rows, times one factor (logit adjustment, Menon
  et al. 2021, arXiv 2007.07314). One number is fitted, so there is little to overfit.
- `labels`: from there, an offset for each label that has enough validation rows, found by ascent over one label at
  a time (Lipton et al. 2014, arXiv 1402.1892, has the thresholds that are best for F1). Each step is exact: the
  metric changes only where a row changes its answer.

Both are fitted without a part of the rows and answer that part, for all parts. So what they gain is measured on
rows that they were not fitted on. Whether the gain is beyond chance is judged in `pipeline/deciding.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.training.randomness import numpy_generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Numbers = NDArray[np.int64]

RARE = 0.5
"""A label is rare below this share of the rows that each label would have if all had the same number."""

LEAST_ROWS = 100
"""Validation rows below which nothing is fitted."""

LEAST_OF_LABEL = 10
"""Validation rows of a label below which it gets no offset of its own."""

_FOLDS = 5
_FACTORS = np.linspace(-1.0, 2.0, 61)
_MOST_ROWS = 5_000
_MOST_LABELS = 50
_PASSES = 3
_WIDEST = 10.0
_DIGITS = 6
_SLIGHT = 1e-12


@dataclass(frozen=True)
class Way:
    """Offsets that were found in one way.

    Args:
        offsets: [labels], fitted on all rows.
        held_out: [rows, labels], for each row those that were fitted without it.
    """

    offsets: Floats
    held_out: Floats


def rarest(counts: Numbers) -> tuple[int, float]:
    """The label with the fewest training rows, and how many it has of those that an even share would be."""
    least = int(counts.argmin())
    return least, float(counts[least] * len(counts) / max(counts.sum(), 1))


def fit_ways(
    outputs: NDArray[np.floating],
    labels: Numbers,
    counts: Numbers,
    *,
    groups: Numbers | None,
    seed: int,
) -> dict[str, Way] | None:
    """Every way to find offsets, by name; None where all rows are of one group.

    Args:
        outputs: [rows, k], calibrated outputs of the head for the validation rows.
        labels: [rows], number of the true label.
        counts: [k], training rows of each label.
        groups: [rows], rows that stay together; None where each is alone.
        seed: random seed of the folds.
    """
    logits = np.asarray(outputs, dtype=np.float64)
    _, members = np.unique(np.arange(len(labels)) if groups is None else groups, return_inverse=True)
    n = int(members.max()) + 1
    if n < 2:
        return None
    folds = numpy_generator(seed, "decision folds").permutation(n)[members] % min(_FOLDS, n)
    prior = -np.log(np.maximum(counts, 1) / max(counts.sum(), 1))
    wants_labels = 2 < len(counts) <= _MOST_LABELS
    fits = {"prior": fit_prior, **({"labels": fit_labels} if wants_labels else {})}
    found = {}
    for name, fit in fits.items():
        held_out = np.empty_like(logits)
        for fold in range(int(folds.max()) + 1):
            used = folds != fold
            held_out[~used] = fit(logits[used], labels[used], prior)
        found[name] = Way(fit(logits, labels, prior), held_out)
    return found


def fit_prior(logits: Floats, labels: Numbers, prior: Floats) -> Floats:
    """The multiple of the prior's offsets with the best macro F1; the one nearest to none at a tie.

    Args:
        logits: [rows, k], outputs of the head.
        labels: [rows], number of the true label.
        prior: [k], offsets of a factor of 1.
    """
    logits, labels = _some(logits, labels)
    centred = prior - prior.mean()
    scores = [macro_f1(labels, (logits + factor * centred).argmax(-1), len(prior)) for factor in _FACTORS]
    best = np.flatnonzero(np.array(scores) >= max(scores) - _SLIGHT)
    factor = _FACTORS[best[np.abs(_FACTORS[best]).argmin()]]
    return _rounded(factor * centred)


def fit_labels(logits: Floats, labels: Numbers, prior: Floats) -> Floats:
    """An offset for each label that has enough rows, from the best multiple of the prior's on.

    Args:
        logits: [rows, k], outputs of the head.
        labels: [rows], number of the true label.
        prior: [k], offsets of a factor of 1.
    """
    logits, labels = _some(logits, labels)
    offsets = fit_prior(logits, labels, prior).copy()
    n_true = np.bincount(labels, minlength=len(prior))
    for _ in range(_PASSES):
        before = offsets.copy()
        for label in np.flatnonzero(n_true >= LEAST_OF_LABEL):
            offsets[label] = _best_offset(logits, labels, offsets, int(label))
        if np.array_equal(before, offsets):
            break
    return _rounded(offsets - offsets.mean())


def _best_offset(logits: Floats, labels: Numbers, offsets: Floats, label: int) -> float:
    """The offset of one label with the best macro F1, the others held; the middle of the widest best stretch."""
    n, k = logits.shape
    scores = logits + offsets
    scores[:, label] = -np.inf
    other = scores.argmax(-1)
    needed = scores.max(-1) - logits[:, label]  # above this offset, a row is given the label
    order = np.argsort(needed, kind="stable")
    needed, other, true = needed[order], other[order], labels[order]
    n_true = np.bincount(labels, minlength=k)
    # Row 0 of each: no row is given the label; row i: the i rows that need the least are.
    gone = np.zeros((n + 1, k))
    lost = np.zeros((n + 1, k))
    np.add.at(gone, (np.arange(1, n + 1), other), 1)
    np.add.at(lost, (np.arange(1, n + 1), other), (other == true).astype(float))
    predicted = np.bincount(other, minlength=k) - gone.cumsum(0)
    agreed = np.bincount(other[other == true], minlength=k) - lost.cumsum(0)
    predicted[:, label] = np.arange(n + 1)
    agreed[:, label] = np.concatenate([[0], (true == label).cumsum()])
    f1 = _macro(n_true, predicted, agreed)
    edges = np.concatenate([[needed[0] - 1], needed, [needed[-1] + 1]])
    widths = np.diff(edges)
    f1[widths <= 0] = -1.0  # several rows change their answers at one offset
    best = np.flatnonzero(f1 >= f1.max() - _SLIGHT)
    if np.any((edges[best] < offsets[label]) & (offsets[label] < edges[best + 1])):
        return float(offsets[label])  # it is as good as any
    widest = best[widths[best].argmax()]
    return float(np.clip((edges[widest] + edges[widest + 1]) / 2, -_WIDEST, _WIDEST))


def _macro(n_true: Numbers, predicted: Floats, agreed: Floats) -> Floats:
    """[…], the macro F1 of counts […, k]; labels that are neither true nor predicted are left out."""
    both = n_true + predicted
    f1 = 2 * agreed / np.maximum(both, 1.0)
    return np.asarray(f1.sum(-1) / (both > 0).sum(-1))


def macro_f1(labels: Numbers, predicted: Numbers, k: int) -> float:
    """The macro F1 of some answers."""
    counts = [np.bincount(values, minlength=k) for values in (labels, predicted, labels[labels == predicted])]
    return float(_macro(counts[0], counts[1].astype(np.float64), counts[2].astype(np.float64)))


def _some(logits: Floats, labels: Numbers) -> tuple[Floats, Numbers]:
    """The rows that are fitted on: all, or as many as are needed."""
    if len(labels) <= _MOST_ROWS:
        return logits, labels
    chosen = np.sort(np.random.default_rng(0).choice(len(labels), _MOST_ROWS, replace=False))
    return logits[chosen], labels[chosen]


def _rounded(offsets: Floats) -> Floats:
    """To six digits, so that they are the same on machines that add up in another order."""
    return np.array([float(f"{value:.{_DIGITS}g}") for value in offsets])
