"""Whether the answers are distributed as in the reference: their labels, or numbers, or the lengths of texts."""

from __future__ import annotations

import numpy as np

from tunesmith.monitoring.permutation import of_counts
from tunesmith.monitoring.statistics import Compared, Measured, NotMeasurable, Statistic, require_rows

_SHOWN_LABELS = 3
_NUMBERS = {"number": "the answer", "written": "the answer's tokens"}


def _measure(compared: Compared) -> Measured:
    n_labels = len(compared.reference.labels)
    reference, window = (rows.counts(n_labels) for rows in (compared.reference.rows, compared.window))
    if reference is not None and window is not None:
        return _of_labels(compared, reference, window)
    for name, what in _NUMBERS.items():
        if len(compared.reference.rows.known(name)):
            return _of_numbers(compared, name, what)
    raise NotMeasurable("the answers are no labels and no numbers, or they are not at hand")


def _of_labels(compared: Compared, reference: np.ndarray, window: np.ndarray) -> Measured:
    require_rows(len(reference), len(window))
    distance = compared.test(of_counts(np.concatenate([reference, window])), len(reference))
    usual, now = (table.sum(axis=0) / max(table.sum(), 1.0) for table in (reference, window))
    names = [*compared.reference.labels, "other labels"]
    moved = np.argsort(-np.abs(now - usual), kind="stable")[:_SHOWN_LABELS]
    said = ", ".join(f"`{names[i]}` {usual[i]:.1%} to {now[i]:.1%}" for i in moved if usual[i] != now[i])
    value = float(np.abs(now - usual).sum() / 2)
    return Measured(
        value,
        f"{value:.1%} of the answers have another label than in the reference"
        + (f": {said}" if said else ""),
        reference=0.0,
        p=distance.p,
        details={"shares": {name: float(share) for name, share in zip(names, now, strict=True) if share}},
    )


def _of_numbers(compared: Compared, name: str, what: str) -> Measured:
    reference, window = compared.pair(name)
    value, usual = float(window.mean()), float(reference.mean())
    error = 1.96 * float(window.std()) / np.sqrt(len(window))
    return Measured(
        value,
        f"on average {what} is {value:.3g}, in the reference {usual:.3g}",
        reference=usual,
        low=value - error,
        high=value + error,
        p=compared.test_numbers(name).p,
        details={"of": name},
    )


statistic = Statistic("answers that are distributed otherwise", "Output drift", "number", _measure)
