"""How frequent each true label is now, without true labels: black box shift estimation (Lipton et al. 2018).

The reference says how often the model answers each label for each true one. If texts of one label are as they
were, and only the shares of the labels have moved, then the answers of a window are a mixture of those columns,
and the weights of the mixture are the shares. They are found by least squares among shares that are not negative.
It does not alarm: what the answers say of it is tested by `output_drift`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.monitoring.statistics import Compared, Measured, NotMeasurable, Statistic, require_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FEWEST_OF_A_LABEL = 5
_RESAMPLES = 200
_SHOWN_LABELS = 3


def _measure(compared: Compared) -> Measured:
    gold, answered, window = _codes(compared)
    labels = compared.reference.labels
    usual = np.bincount(gold, minlength=len(labels)) / len(gold)
    estimate = shares_of_labels(gold, answered, window, len(labels))
    rng = np.random.default_rng(compared.seed)
    drawn = np.array([_resampled(gold, answered, window, len(labels), rng) for _ in range(_RESAMPLES)])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    moved = np.argsort(-np.abs(estimate - usual), kind="stable")[:_SHOWN_LABELS]
    said = ", ".join(f"`{labels[i]}` {usual[i]:.1%} to {estimate[i]:.1%}" for i in moved)
    value = float(np.abs(estimate - usual).sum() / 2)
    return Measured(
        value,
        f"an estimated {value:.1%} of the texts have another true label than in the reference: {said}, if texts "
        "of one label are as they were",
        reference=0.0,
        details={
            "shares": {
                label: {"value": float(estimate[i]), "low": float(low[i]), "high": float(high[i])}
                for i, label in enumerate(labels)
            }
        },
    )


def _codes(compared: Compared) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The true labels and the answers of the reference, and the answers of the window."""
    rows, labels = compared.reference.rows, compared.reference.labels
    gold = rows.number("gold")
    known = np.flatnonzero(~np.isnan(gold))
    require_rows(len(known), len(compared.window))
    answers = [None if side is None else side.lengths for side in (rows.answers, compared.window.answers)]
    if any(lengths is None or (lengths != 1).any() for lengths in answers):
        raise NotMeasurable("not every answer is one label")
    assert rows.answers is not None and compared.window.answers is not None, "lengths are known"  # noqa: PT018
    codes = gold[known].astype(np.int64)
    counts = np.bincount(codes, minlength=len(labels))
    if counts.min() < _FEWEST_OF_A_LABEL:
        few = labels[int(counts.argmin())]
        raise NotMeasurable(
            f"the reference has {counts.min()} rows of `{few}`, and {_FEWEST_OF_A_LABEL} are needed"
        )
    window = np.asarray(compared.window.answers.values, dtype=np.int64)
    return codes, np.asarray(rows.answers.values, dtype=np.int64)[known], window[window < len(labels)]


def shares_of_labels(
    gold: NDArray[np.int64], answered: NDArray[np.int64], window: NDArray[np.int64], n_labels: int
) -> NDArray[np.float64]:
    """[labels], the estimated shares of the true labels in a window; they sum to 1.

    Args:
        gold: [reference rows], codes of their true labels.
        answered: [reference rows], codes of their answers.
        window: [window rows], codes of the answers.
        n_labels: number of labels.
    """
    from scipy.optimize import nnls

    table = np.zeros((n_labels, n_labels))
    np.add.at(table, (answered, gold), 1.0)
    given = table / np.maximum(table.sum(axis=0), 1.0)
    now = np.bincount(window, minlength=n_labels) / max(len(window), 1)
    found, _ = nnls(given, now)
    return np.asarray(found / max(found.sum(), 1e-12))


def _resampled(
    gold: NDArray[np.int64],
    answered: NDArray[np.int64],
    window: NDArray[np.int64],
    n_labels: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    rows = rng.integers(len(gold), size=len(gold))
    drawn = window[rng.integers(len(window), size=len(window))]
    return shares_of_labels(gold[rows], answered[rows], drawn, n_labels)


statistic = Statistic(
    "true labels, estimated from the answers", "Label shift", "share", _measure, tested=False
)
