"""Correlation and error of predicted numbers.

Pearson's r from sums of products, and Spearman's rho as Pearson's r of average ranks (Spearman 1904; ties as
in `scipy.stats.spearmanr`). Ranks are computed over all examples: their score is exact, but an interval or a slice
resamples these ranks and does not rank again. RMSE and MAE are in the unit of the numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import Metric, Scores, Statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import Array

metrics = (
    Metric(
        "pearson",
        "maximize",
        "correlation",
        "Pearson correlation",
        "how near predicted and true numbers are to a straight line: 1 is perfect, 0 is chance",
        "pearsonr",
        compares_rows=True,
    ),
    Metric(
        "spearman",
        "maximize",
        "correlation",
        "Spearman correlation",
        "how alike the order of predicted and true numbers is: 1 is perfect, 0 is chance",
        "spearmanr",
        compares_rows=True,
    ),
    Metric(
        "rmse",
        "minimize",
        "unit of the numbers",
        "root mean squared error",
        "the typical error, in the unit of the numbers; large errors count more",
    ),
    Metric(
        "mae",
        "minimize",
        "unit of the numbers",
        "mean absolute error",
        "the mean distance between predicted and true numbers, in their unit",
    ),
)

_NO_VARIANCE = 1e-12
"""Ratio of variance to mean square, below which the variance is only rounding."""


def statistics(true: Array, predicted: Array) -> Statistics:
    """Per example: the statistics of correlations and errors.

    Args:
        true: [examples], true numbers, finite.
        predicted: [examples], predicted numbers, finite.

    Returns:
        Dense [examples, 13]: 1, (x, y, xx, yy, xy) of the values, the same of the ranks, error², |error|.
    """
    from scipy.stats import rankdata

    x, y = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    error = y - x
    columns = [
        np.ones(len(x)),
        *_products(x, y),
        *_products(rankdata(x), rankdata(y)),
        error**2,
        np.abs(error),
    ]
    return np.stack(columns, axis=1)


def _products(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """x, y and their products, after centring and scaling: r stays the same, and no digits are lost."""
    x, y = _standardised(x), _standardised(y)
    return [x, y, x * x, y * y, x * y]


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = values - values.mean() if len(values) else values
    return centred / (np.abs(centred).max(initial=0.0) or 1.0)


def formula(sums: NDArray[np.float64]) -> Scores:
    """Pearson, Spearman, RMSE and MAE from sums [..., 13].

    A correlation is 0.0 if either side is constant; every score is 0.0 without examples.
    """
    n = sums[..., 0]
    return {
        **correlations(sums),
        "rmse": np.sqrt(sums[..., 11] / np.maximum(n, 1.0)),
        "mae": sums[..., 12] / np.maximum(n, 1.0),
    }


def correlations(sums: NDArray[np.float64]) -> Scores:
    """Pearson and Spearman alone, from the first eleven sums [..., 11 or more]."""
    n = sums[..., 0]
    return {
        "pearson": _correlation(n, sums[..., 1:6]),
        "spearman": _correlation(n, sums[..., 6:11]),
    }


def _correlation(n: NDArray[np.float64], sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's r [...] from n [...] and the sums of x, y, xx, yy, xy [..., 5]."""
    x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    x_spread, y_spread = n * xx - x * x, n * yy - y * y
    varies = (x_spread > _NO_VARIANCE * n * xx) & (y_spread > _NO_VARIANCE * n * yy)
    # Separate roots: the product of two small spreads could underflow.
    scale = np.where(varies, np.sqrt(np.abs(x_spread)) * np.sqrt(np.abs(y_spread)), 1.0)
    r = np.clip((n * xy - x * y) / scale, -1.0, 1.0)
    return np.asarray(np.where(varies, r, 0.0), dtype=np.float64)
