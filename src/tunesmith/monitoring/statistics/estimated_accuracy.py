"""The accuracy that the scores of a window suggest, without a true label.

Three estimates, all from the scores of answers and from the reference, whose true labels are known: the average
confidence; the accuracy of the reference plus the difference of the average confidences (DoC: Guillory et al.
2021); and the share of answers above the score that as many answers of the reference exceed as are right (ATC:
Garg et al. 2022). The figure is the mean of the last two. Its interval has the chance of both samples in it, and
not that a score may mean something else for texts of another kind: no method can know that without labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.monitoring.statistics import Compared, Measured, Statistic, require_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import JsonObject

_RESAMPLES = 200
CAVEAT = (
    "it assumes that a score means on these texts what it means on the reference; where the texts have drifted, "
    "label some rows to know the accuracy"
)


def _measure(compared: Compared) -> Measured:
    rows = compared.reference.rows
    is_known = ~np.isnan(rows.number("correct")) & ~np.isnan(rows.number("score"))
    scores, right = rows.number("score")[is_known], rows.number("correct")[is_known]
    window = compared.window.known("score")
    require_rows(len(scores), len(window))
    found = estimates(scores, right, window)
    rng = np.random.default_rng(compared.seed)
    drawn = [_resampled(scores, right, window, rng) for _ in range(_RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    value, usual = found["estimate"], float(right.mean())
    return Measured(
        value,
        f"the scores suggest that {value:.1%} of the answers are right, of the reference {usual:.1%} were",
        reference=usual,
        low=float(low),
        high=float(high),
        p=compared.test_numbers("score").p,
        details={**found, "caveat": CAVEAT},
    )


def estimates(
    scores: NDArray[np.float64], right: NDArray[np.float64], window: NDArray[np.float64]
) -> JsonObject:
    """The estimates of the accuracy of a window.

    Args:
        scores: [reference rows], scores of the answers.
        right: [reference rows], whether each answer is right.
        window: [window rows], scores of the answers.
    """
    accuracy = float(right.mean())
    difference = accuracy + float(window.mean() - scores.mean())
    threshold = np.quantile(scores, 1 - accuracy)
    by_threshold = float((window >= threshold).mean())
    return {
        "estimate": min(max((difference + by_threshold) / 2, 0.0), 1.0),
        "average_confidence": float(window.mean()),
        "difference_of_confidences": difference,
        "average_thresholded_confidence": by_threshold,
    }


def _resampled(
    scores: NDArray[np.float64],
    right: NDArray[np.float64],
    window: NDArray[np.float64],
    rng: np.random.Generator,
) -> float:
    rows, drawn = rng.integers(len(scores), size=len(scores)), rng.integers(len(window), size=len(window))
    return float(estimates(scores[rows], right[rows], window[drawn])["estimate"])


statistic = Statistic("accuracy that the scores suggest", "Estimated accuracy", "share", _measure)
