"""Rows in which the model is weak, found without being asked: long texts, a label, a topic, a word.

Candidates come from `evaluation/candidate_slices.py`, and `evaluation/slice_search.py` corrects for their
number: at most 5 % of searches find anything where no slice is weak. Slices overlap, so one that is found
counts only if it is weak beyond the rows of those before it.

Slices that are shown were chosen because they are weak, so their intervals are wider than those of slices that
were named before: the level is that of false coverage, 1 - 0.05 · shown / tried (Benjamini and Yekutieli 2005).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.data.near_copies import text_hashes
from tunesmith.evaluation.analyses import Analysis, Answered
from tunesmith.evaluation.candidate_slices import Slice, candidates
from tunesmith.evaluation.clusters import Clusters
from tunesmith.evaluation.scoring import Scored
from tunesmith.evaluation.slice_search import weakness
from tunesmith.metrics import METRICS, total

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tunesmith.types import JsonObject

LEVEL = 0.05
_FEWEST_ROWS, _FEWEST_GROUPS = 100, 30
_LEAST, _LEAST_SHARE = 20, 0.01
_MOST_ROWS = 20_000
_MOST_SHOWN = 10
_STILL_WEAK = 1.645
_MOST_RESAMPLES = 20_000


def _find(answered: Answered) -> JsonObject | None:
    """The entry of metrics.json; None with fewer than 100 rows, or 30 groups of rows.

    `found` has the weakest first, each with `kind`, `name`, `n`, the metric as `value` with `low` and `high`,
    `rest` (the metric on all other rows) and `p` (adjusted for all that were `tried`).
    """
    scored = answered.final
    groups = scored.groups
    if len(scored.examples) < _FEWEST_ROWS:
        return None
    if groups is not None and len(np.unique(groups)) < _FEWEST_GROUPS:
        return None
    metric = metric_of(scored)
    tried, weak = _search(answered, metric)
    shown = _describe(answered, metric, weak, len(tried))
    return {"metric": metric, "tried": len(tried), "level": LEVEL, "found": shown}


def metric_of(scored: Scored) -> str:
    """The first metric whose value on some rows is one of these rows alone; the primary one if there is none."""
    primary = scored.task.primary_for(scored.label_schema)
    names = [primary, *scored.task.formula(total(scored.statistics), scored.label_schema)]
    return next((name for name in names if not METRICS.get(name).compares_rows), primary)


def residuals_of(scored: Scored, metric: str) -> NDArray[np.float64]:
    """[rows], what each row adds to the metric beyond the average, to first order; above 0 is better."""
    sums = scored.statistics
    each = Clusters(sums, np.ones(sums.shape[0], dtype=np.int64), float(sums.shape[0]))
    influence = each.influence(lambda added: scored.task.formula(added, scored.label_schema)[metric])
    return influence if METRICS.get(metric).greater_is_better else -influence


@dataclass(frozen=True)
class _Weak:
    """A slice that is weaker than the search finds by chance."""

    slice: Slice
    statistic: float
    p: float


def _search(answered: Answered, metric: str) -> tuple[list[Slice], list[_Weak]]:
    """What was tried, and what was found; the clearest first."""
    from scipy import sparse

    scored, n = answered.final, len(answered.final.examples)
    least = max(_LEAST, int(_LEAST_SHARE * n))
    tried = candidates(scored, answered.features("final"), least=least, seed=answered.seed)
    residuals = residuals_of(scored, metric)
    if not tried or np.ptp(residuals) < 1e-12:
        return tried, []
    rng = np.random.default_rng([answered.seed, n])
    rows = _searched(scored, residuals, rng)
    sets = sparse.csr_matrix(np.array([each.rows[rows] for each in tried], dtype=np.float64))
    groups = None if scored.groups is None else scored.groups[rows]
    statistics, p = weakness(residuals[rows], sets, rng, groups=groups)
    weak = [_Weak(tried[i], statistics[i], p[i]) for i in np.argsort(-statistics) if p[i] <= LEVEL]
    return tried, weak


def _searched(scored: Scored, residuals: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """The rows that are searched, in an order that does not depend on that of the file; of many, a sample."""
    order = np.lexsort((residuals, text_hashes(scored.examples)))
    if len(order) <= _MOST_ROWS:
        return order
    return order[np.sort(rng.choice(len(order), _MOST_ROWS, replace=False))]


def _describe(answered: Answered, metric: str, weak: Sequence[_Weak], n_tried: int) -> list[JsonObject]:
    """The slices that say something new, with the metric in each; the weakest first."""
    new = _new(weak, residuals_of(answered.final, metric))[:_MOST_SHOWN]
    confidence = 1 - LEVEL * len(new) / max(n_tried, 1)
    described = [_entry(answered, metric, each, confidence) for each in new]
    sign = 1 if METRICS.get(metric).greater_is_better else -1
    shown = [entry for entry in described if sign * entry["value"] < sign * entry["rest"]]
    return sorted(shown, key=lambda entry: sign * entry["value"])


def _new(weak: Sequence[_Weak], residuals: NDArray[np.float64]) -> list[_Weak]:
    """Slices that are still weak without the rows of those before them."""
    taken = np.zeros(len(residuals), dtype=bool)
    spread = residuals.std()
    found = []
    for each in weak:
        left = residuals[each.slice.rows & ~taken]
        if -left.sum() >= _STILL_WEAK * spread * np.sqrt(max(len(left), 1)):
            found.append(each)
            taken |= each.slice.rows
    return found


def _entry(answered: Answered, metric: str, weak: _Weak, confidence: float) -> JsonObject:
    scored, rows = answered.final, weak.slice.rows
    samples = min(max(answered.how.bootstrap_samples, int(20 / (1 - confidence))), _MOST_RESAMPLES)
    how = answered.how.model_copy(update={"confidence": confidence, "bootstrap_samples": samples})
    interval = scored.intervals(how, answered.seed, np.flatnonzero(rows))[metric]
    rest = scored.task.formula(total(scored.statistics[np.flatnonzero(~rows)]), scored.label_schema)[metric]
    return {
        "kind": weak.slice.kind,
        "name": weak.slice.name,
        "n": int(rows.sum()),
        **interval.to_json(),
        "rest": float(rest),
        "p": weak.p,
        "confidence": confidence,
    }


analysis = Analysis("rows in which the model is weak", _find)
