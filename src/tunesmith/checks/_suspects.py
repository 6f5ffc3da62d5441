"""Which labels are probably wrong, from the answers of a probe that did not see them.

Those that are listed are the off-diagonal cells of the confident joint (Northcutt et al. 2021, arXiv
1911.00068): the probability of another label is at least its mean over the items that have this label. Where
labels are easy, this mean is near 1 and would leave out what is clear enough, so more likely than not is enough
too.

They are in the order of q(best other label) - q(given label), where q is the probability to the power of 0.25.
With logarithms in place of q, labels that were flipped by chance come first a little more often. With plain
probabilities, labels that were flipped to the one that a model takes them for do, much more often. Errors of
people are more like these. On banking77, tweet_emotion, trec and sst2 this order is better in the mean than
cleanlab's default for both kinds (`benchmarks/trust-labels.md`). Nearest neighbours, ridge regression and a
second fit with smaller weights for suspects were tried too: none was better everywhere.

How many labels are wrong cannot be read off such a list: items that are hard look the same. Where the probe is
most certain, it is hardly ever wrong by itself, so there the share of items whose label differs from its answer
is close to the share of wrong labels. Flipped labels were estimated so (see the benchmark). Errors that are more
frequent in hard items than in easy ones are underestimated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CERTAIN_SHARE, FEWEST_CERTAIN = 0.1, 30
_LEVEL = 0.95
_POWER = 0.25
_LIKELY = 0.5


@dataclass(frozen=True)
class Suspects:
    """What a set of labels looks like.

    Args:
        margin: [items], from -1 to 1, by how much the best other label is ahead of the given one.
        proposed: [items], the best other label.
        listed: items that are listed, the worst first.
        share: estimated share of wrong labels, where the probe is most certain.
        low: lower end of its 95 % interval.
        high: upper end.
        n_certain: number of items that the estimate is from.
    """

    margin: NDArray[np.float64]
    proposed: NDArray[np.int64]
    listed: NDArray[np.int64]
    share: float
    low: float
    high: float
    n_certain: int


def suspects(logp: NDArray[np.floating], labels: NDArray[np.int64]) -> Suspects:
    """The items whose label is probably wrong.

    Args:
        logp: [items, k], log-probabilities by a model that did not see the item.
        labels: [items], the given labels.
    """
    margin, proposed = margins(logp, labels)
    doubted = confidently_other(np.exp(logp), labels)
    listed = np.flatnonzero(doubted & (margin > 0))
    listed = listed[np.argsort(-margin[listed], kind="stable")]
    share, low, high, n = wrong_share(logp, labels)
    return Suspects(margin, proposed, listed, share, low, high, n)


def margins(
    logp: NDArray[np.floating], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """[items], by how much the best other label is ahead of the given one, and this other label.

    Args:
        logp: [items, k], log-probabilities.
        labels: [items], the given labels.
    """
    items = np.arange(len(labels))
    others = np.array(logp, dtype=np.float64)
    given = others[items, labels]
    others[items, labels] = -np.inf
    best = others.argmax(axis=1)
    return np.exp(_POWER * others[items, best]) - np.exp(_POWER * given), best


def confidently_other(
    probabilities: NDArray[np.floating], labels: NDArray[np.int64], most: float = _LIKELY
) -> NDArray[np.bool_]:
    """[items], whether an item is off the diagonal of the confident joint.

    Args:
        probabilities: [items, k].
        labels: [items], the given labels.
        most: greatest threshold of a label.
    """
    k = probabilities.shape[1]
    counts = np.bincount(labels, minlength=k)
    sums = np.bincount(labels, probabilities[np.arange(len(labels)), labels], minlength=k)
    # A label that no item has is never confident.
    thresholds = np.where(counts > 0, np.minimum(sums / np.maximum(counts, 1), most), np.inf)
    reached = np.where(probabilities >= thresholds - 1e-12, probabilities, -1.0)
    best = reached.argmax(axis=1)
    return np.asarray((reached.max(axis=1) >= 0) & (best != labels))


def wrong_share(logp: NDArray[np.floating], labels: NDArray[np.int64]) -> tuple[float, float, float, int]:
    """The share of wrong labels where the model is most certain, its interval, and the number of these items.

    Args:
        logp: [items, k], log-probabilities.
        labels: [items], the given labels.
    """
    from scipy.stats import binomtest

    certainty = logp.max(axis=1)
    n = min(len(labels), max(FEWEST_CERTAIN, int(CERTAIN_SHARE * len(labels))))
    chosen = np.argsort(-certainty, kind="stable")[:n]
    wrong = int((logp[chosen].argmax(axis=1) != labels[chosen]).sum())
    interval = binomtest(wrong, n).proportion_ci(_LEVEL)
    return wrong / n, float(interval.low), float(interval.high), n
