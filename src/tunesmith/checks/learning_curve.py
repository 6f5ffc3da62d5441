"""How much more data would help: the probe, trained on growing shares of the rows.

The shares are nested and are drawn from the rows outside a fold; what they teach is measured on the fold. Each
fold is a repetition of its own. Through the points goes a power law, error = a + b·n^-c (Hestness et al. 2017,
arXiv 1712.00409), fitted to the largest shares. It is fitted anew for resampled folds and for a range of c that
the points cannot tell apart, and the interval covers these fits. Where it includes zero, the gain is not shown.

The curve is that of a linear head. A fine-tuned model is better, and gains from more rows too, but not by the
same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.checks import Check, CheckedData, Finding
from tunesmith.checks._probing import N_FOLDS, CrossValidated, cross_validated, logits_of_sample
from tunesmith.checks._targets import label_command
from tunesmith.encoded import Encoded
from tunesmith.metrics import METRICS
from tunesmith.tasks import EvalPredictions, point_scores

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

SHARES = (0.125, 0.25, 0.5, 0.7071, 1.0)
_MOST_ROWS = 20_000
_EXPONENTS = np.linspace(0.1, 1.0, 19)
_DRAWS = 400
_WITHIN = 1.5
"""Exponents whose squared error is at most this many times the least are as good as the best."""


@dataclass(frozen=True)
class Gain:
    """What more rows would change.

    Args:
        value: change of the metric.
        low: lower end of its 95 % interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Expected:
    """What more rows would change.

    Args:
        metric: name of the metric.
        n_rows: number of rows that there are.
        sizes: [shares], numbers of rows of the curve.
        values: [shares], the metric of a probe of so many rows, mean of the folds.
        gain: change of the metric.
    """

    metric: str
    n_rows: int
    sizes: NDArray[np.float64]
    values: NDArray[np.float64]
    gain: Gain

    @property
    def is_shown(self) -> bool:
        """Whether the interval of the change leaves zero out."""
        return self.gain.low > 0 or self.gain.high < 0

    def sentence(self, what: str) -> str:
        """What `what` (so many rows) would change, for people."""
        metric = METRICS.get(self.metric)
        return _said(metric.label, metric.is_share, self.gain, what, is_shown=self.is_shown)


def expected(data: CheckedData, factor: float = 2.0) -> Expected | None:
    """What so many times the rows would change; None where there are too few rows, too many, or entities.

    Args:
        data: rows, and their features.
        factor: number of rows, in units of those that there are.
    """
    probed = cross_validated(data)
    # Predictions of entities need all tokens of a sentence, those without a label too.
    if probed is None or probed.items.words is not None or len(probed.items.rows) > _MOST_ROWS:
        return None
    curve = learned(data, probed)
    name = data.task.primary_for(data.label_schema)
    n = len(probed.items.rows)
    sizes = np.array(SHARES) * n * (N_FOLDS - 1) / N_FOLDS
    greater = METRICS.get(name).greater_is_better
    gain = gain_of_more(sizes, curve if greater else -curve, data.seed, factor=factor)
    if not greater:
        gain = Gain(-gain.value, -gain.high, -gain.low)
    return Expected(name, n, sizes, curve.mean(axis=0), gain)


def _find(data: CheckedData) -> Iterable[Finding]:
    found = expected(data)
    if found is None:
        return
    evidence: JsonObject = {
        "metric": found.metric,
        "rows": [round(float(size)) for size in found.sizes],
        "values": [float(value) for value in found.values],
        "twice": {"value": found.gain.value, "low": found.gain.low, "high": found.gain.high},
        "is_shown": found.is_shown,
    }
    yield Finding(
        "learning_curve",
        "note",
        found.sentence("twice the rows"),
        _advice(data, found.is_shown),
        evidence=evidence,
    )


def _said(label: str, is_share: bool, gain: Gain, what: str, *, is_shown: bool) -> str:
    def number(value: float) -> str:
        return f"{100 * value:+.1f}" if is_share else f"{value:+.3f}"

    unit = " points" if is_share else ""
    interval = f"{number(gain.low)} to {number(gain.high)}"
    if not is_shown:
        changed = f"{what} would change the probe's {label} by {interval}{unit}"
        return f"a gain from more rows is not shown: {changed}"
    return f"{what} would change the probe's {label} by about {number(gain.value)}{unit} ({interval})"


def _advice(data: CheckedData, is_shown: bool) -> str:
    if is_shown:
        return f"Add rows, if such a gain is worth the labels; {label_command(data)}."
    return "Better labels or another model may help more than rows."


def learned(data: CheckedData, probed: CrossValidated) -> NDArray[np.float64]:
    """[folds, shares], the primary metric on each fold, of a probe of each share of the other rows.

    Args:
        data: rows.
        probed: the cross-validated probe.
    """
    folds = probed.folds[probed.items.rows]
    values = np.empty((N_FOLDS, len(SHARES)))
    for fold in range(N_FOLDS):
        held = np.flatnonzero(folds == fold)
        others = np.random.default_rng([data.seed, fold]).permutation(np.flatnonzero(folds != fold))
        for number, share in enumerate(SHARES):
            if share == 1.0:
                logits = probed.logits[held]
            else:
                fitted = np.sort(others[: int(share * len(others))])
                logits = logits_of_sample(data.task, data.label_schema, probed, fitted, held)
            values[fold, number] = _score(data, probed, held, logits)
    return values


def _score(
    data: CheckedData, probed: CrossValidated, held: NDArray[np.int64], logits: NDArray[np.float32]
) -> float:
    rows = probed.items.rows[held]
    columns = data.splits["train"].take(rows).columns
    encoded = Encoded({}, {"labels": probed.items.labels[held]}, np.arange(len(held)), len(held))
    evaluated = EvalPredictions(columns, encoded, logits)
    return point_scores(data.task, evaluated, data.label_schema)[data.task.primary_for(data.label_schema)]


def gain_of_more(
    sizes: NDArray[np.float64], values: NDArray[np.float64], seed: int, *, factor: float = 2.0
) -> Gain:
    """The gain from more rows, by power laws through resampled folds.

    Args:
        sizes: [shares], number of rows.
        values: [folds, shares], metric, of which more is better.
        seed: random seed for resampling.
        factor: number of rows, in units of the largest of `sizes`.
    """
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(values), size=(_DRAWS, len(values)))
    means = np.concatenate([values.mean(axis=0)[None], values[draws].mean(axis=1)])
    gains, errors = _fits(sizes, means, factor)
    best = errors.min(axis=1, keepdims=True)
    # Folds vary together over the shares, so the whole of a fold is resampled, and shape adds its own doubt.
    noise = values.std(axis=0, ddof=1).mean() ** 2 / len(values) * 0.1
    good = errors <= _WITHIN * best + noise
    value = float(gains[0, errors[0].argmin()])
    likely = np.concatenate([row[ok] for row, ok in zip(gains[1:], good[1:], strict=True)])
    low, high = np.quantile(likely, [0.025, 0.975])
    return Gain(value, float(min(low, value)), float(max(high, value)))


def _fits(
    sizes: NDArray[np.float64], means: NDArray[np.float64], factor: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[draws, exponents], the gain from more rows by each exponent, and the mean squared error of the fit."""
    gains, errors = [], []
    weight = np.sqrt(sizes / sizes.sum())[:, None]  # large shares are nearer to what is asked
    for exponent in _EXPONENTS:
        basis = np.stack([np.ones_like(sizes), -(sizes**-exponent)], axis=1)
        solution, *_ = np.linalg.lstsq(basis * weight, means.T * weight, rcond=None)
        residual = (basis @ solution - means.T) * weight
        gains.append(solution[1] * (sizes[-1] ** -exponent) * (1 - factor**-exponent))
        errors.append((residual**2).sum(axis=0))
    return np.stack(gains, axis=1), np.stack(errors, axis=1)


check = Check("how much more rows would help", _find, needs_features=True, before_training=False)
