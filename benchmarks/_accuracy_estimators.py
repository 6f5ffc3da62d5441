"""Other estimates of the accuracy without labels, beside those of `monitor`: what was tried and not taken.

None is better than those of `monitor` on both kinds of models of `benchmarks/monitoring.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

if TYPE_CHECKING:
    from tunesmith.monitoring.observed import Observed

_C_DOMAIN, _C_LABEL, _FOLDS = 0.001, 0.003, 5
_CLIPPED = 0.98


def other_estimates(own: Observed, window: Observed) -> dict[str, float]:
    """The accuracy of a window by each of them.

    Args:
        own: labelled rows of the domain that the model was trained on.
        window: rows of another one, without labels.
    """
    assert own.vectors is not None
    assert window.vectors is not None
    both = np.concatenate([own.vectors, window.vectors]).astype(np.float64)
    both = (both - both.mean(0)) / (both.std(0) + 1e-6)
    one, other = both[: own.n], both[own.n :]
    return {"importance_weights": _weighted(one, other, own), "second_head": _second(one, other, own, window)}


def _weighted(one: Any, other: Any, own: Observed) -> float:
    """The accuracy of the own rows, weighted by how much they are like the window (a classifier of domains)."""
    rows, domain = np.concatenate([one, other]), np.repeat([0, 1], [len(one), len(other)])
    p = np.zeros(len(rows))
    for learned, held in _folds(rows, domain):
        p[held] = _fitted(rows[learned], domain[learned], _C_DOMAIN).predict_proba(rows[held])[:, 1]
    ratio = (p / (1 - p))[: len(one)]
    weights = np.minimum(ratio, np.quantile(ratio, _CLIPPED))
    return float((weights * own.number("correct")).sum() / weights.sum())


def _second(one: Any, other: Any, own: Observed, window: Observed) -> float:
    """The own accuracy, less how much less a head fitted on the own rows believes the answers in the window."""
    assert own.answers is not None
    assert window.answers is not None
    gold = own.number("gold").astype(np.int64)
    here, there = np.zeros(len(one)), np.zeros(len(other))
    for learned, held in _folds(one, gold):
        head = _fitted(one[learned], gold[learned], _C_LABEL)
        here[held] = head.predict_proba(one[held])[np.arange(len(held)), own.answers.values[held]]
        there += head.predict_proba(other)[np.arange(len(other)), window.answers.values] / _FOLDS
    return float(own.number("correct").mean() - (here.mean() - there.mean()))


def _folds(rows: Any, labels: Any) -> Any:
    return StratifiedKFold(_FOLDS, shuffle=True, random_state=0).split(rows, labels)


def _fitted(rows: Any, labels: Any, c: float) -> Any:
    return LogisticRegression(C=c, max_iter=500).fit(rows, labels)
