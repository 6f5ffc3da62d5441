"""The accuracy of the answers whose true label is known, watched by a test that may be asked at any time.

Each window may be the one from which on the accuracy is lower, so a bet against the accuracy of the reference is
opened at each: the mixture of likelihood ratios over all lower accuracies, with a uniform prior (Robbins 1970;
Howard et al. 2021). As long as the accuracy is at least that of the reference, no bet is expected to grow; nor is
their mixture, with the weights 1 / (j (j + 1)) for the j-th window. By Ville's inequality it ever reaches 1 / a
with a probability of at most a, however many labels come, and however often somebody looks. The accuracy of the
reference is itself known from some rows, so its lower bound is taken, which costs half of the level.

Labels come late, and for chosen rows. Where people label answers that look wrong, it is the accuracy of these.
ADWIN (Bifet and Gavaldà 2007) says where in the labels a change began.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.monitoring.adwin import changes
from tunesmith.monitoring.statistics import Compared, Measured, NotMeasurable, Statistic
from tunesmith.monitoring.statistics._shares import exact_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FEWEST_LABELS = 10


def _measure(compared: Compared) -> Measured:
    reference = compared.reference.rows.known("correct")
    windows = [rows.known("correct") for rows in (*compared.earlier, compared.window)]
    now, labels = windows[-1], np.concatenate(windows)
    if len(reference) < _FEWEST_LABELS:
        raise NotMeasurable(f"the reference has {len(reference)} rows that are right or wrong")
    if not len(now):
        raise NotMeasurable("no row has a true label")
    bound, _ = exact_interval(int(reference.sum()), len(reference), 1 - compared.level)
    evidence, since = log_evidence(windows, bound)
    low, high = exact_interval(int(now.sum()), len(now), 0.95)
    always_low, always_high = always_valid_interval(int(labels.sum()), len(labels), 0.95)
    value, usual = float(now.mean()), float(reference.mean())
    return Measured(
        value,
        f"{int(now.sum()):,} of {len(now):,} answers with a known label are right ({value:.1%}), of the reference "
        f"{usual:.1%}",
        reference=usual,
        low=low,
        high=high,
        p=min(1.0, compared.level / 2 + float(np.exp(-max(evidence, 0.0)))),
        details={
            "labels": len(now),
            "all_labels": len(labels),
            "all": {"value": float(labels.mean()), "low": always_low, "high": always_high},
            "bound": bound,
            "since_window": since,
            "changes": _windows_of(changes(labels), windows),
        },
    )


def log_evidence(windows: Sequence[NDArray[np.float64]], accuracy: float) -> tuple[float, int]:
    """The logarithm of the evidence that the accuracy is lower now; and since which window, from 1.

    Args:
        windows: whether each answer is right, window by window.
        accuracy: the lowest accuracy without a loss.
    """
    right = np.array([window.sum() for window in windows], dtype=np.float64)
    wrong = np.array([len(window) for window in windows]) - right
    since = [np.cumsum(counts[::-1])[::-1] for counts in (right, wrong)]
    numbers = np.arange(1.0, len(windows) + 1)
    bets = _log_bets(since[0], since[1], accuracy) - np.log(numbers * (numbers + 1))
    # What is not yet bet is kept, so that the weights of all windows to come are there, too.
    return float(np.logaddexp.reduce([*bets, -np.log(len(windows) + 1.0)])), int(bets.argmax()) + 1


def _log_bets(right: NDArray[np.float64], wrong: NDArray[np.float64], accuracy: float) -> NDArray[np.float64]:
    """The logarithm of the mean likelihood of all accuracies below one, relative to its own."""
    from scipy.special import betainc, betaln

    if accuracy <= 0:
        return np.zeros(len(right))
    below = np.maximum(betainc(right + 1, wrong + 1, accuracy), 1e-300)
    mean = betaln(right + 1, wrong + 1) + np.log(below) - np.log(accuracy)
    rest = np.where(wrong > 0, wrong * np.log(max(1 - accuracy, 1e-12)), 0.0)
    return np.asarray(mean - right * np.log(accuracy) - rest)


def always_valid_interval(n: int, of: int, confidence: float) -> tuple[float, float]:
    """Bounds of an accuracy that hold at all times together: where the mixture of all accuracies is no evidence.

    Args:
        n: right answers.
        of: answers.
        confidence: least probability that the bounds hold the accuracy, however often they are computed.
    """
    from scipy.special import betaln

    grid = np.linspace(0, 1, 2001)
    with np.errstate(divide="ignore", invalid="ignore"):
        likelihood = np.where(n > 0, n * np.log(grid), 0.0) + np.where(
            of > n, (of - n) * np.log1p(-grid), 0.0
        )
    inside = grid[betaln(n + 1, of - n + 1) - likelihood <= -np.log(1 - confidence)]
    return float(inside[0]), float(inside[-1])


def _windows_of(places: Sequence[int], windows: Sequence[NDArray[np.float64]]) -> list[int]:
    """The windows, from 1, in which some of the labels are."""
    ends = np.cumsum([len(window) for window in windows])
    return sorted({int(np.searchsorted(ends, place, side="right")) + 1 for place in places})


statistic = Statistic(
    "answers that are right, where the true label is known", "Real accuracy", "share", _measure
)
