"""The choice of the best recipe: honest about noise, and about how much of a score is luck.

The finalists are trained with several seeds and scored on the same validation rows. The difference of two of them
has a standard error from two sources: the rows (paired), and the seeds. A recipe that is cheaper by a fifth is
preferred if the odds that the better one really is better are below two to one.

The best score of many trials is too high: it was chosen because it is the best on these rows. How much too high is
estimated as Tsamardinos, Greasidou and Borboudakis (2018, "Bootstrapping the out-of-sample predictions") do: rows
are resampled, and the winner of each resample is scored on the rows that are not in it. The difference between the
best score and the mean of these is the optimism of the search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluation.baselines import RowStatistics
from tunesmith.evaluation.clusters import add_up
from tunesmith.metrics import METRICS
from tunesmith.tasks import best_metric

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_MUCH_CHEAPER = 0.8
_TOSS_UP_ERRORS = 0.43
"""Standard errors within which the odds that a difference is real are below two to one."""
_RESAMPLES = 500
_MOST_PARTS = 2_000


@dataclass(frozen=True)
class Finalist:
    """A recipe that was trained on all rows.

    Args:
        name: name of its first trial.
        values: value of each key that the search changed.
        by_seed: metric of the validation rows by seed.
        rows: statistics of the validation rows by seed.
        train_seconds: time of its training loop, the mean over the seeds.
        is_default: whether it is the recipe that the search began from.
        folders: folder of its trial by seed.
    """

    name: str
    values: Mapping[str, Any]
    by_seed: Mapping[int, float]
    rows: Mapping[int, RowStatistics]
    train_seconds: float
    is_default: bool = False
    folders: Mapping[int, Path] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """The mean of the metric over the seeds."""
        return float(np.mean(list(self.by_seed.values())))


@dataclass(frozen=True)
class Choice:
    """Which finalist is chosen, and why.

    Args:
        winner: finalist that is chosen.
        best: finalist with the best mean.
        behind: how far each finalist is behind the best, and the standard error of that, by name.
        reason: the choice in words.
    """

    winner: Finalist
    best: Finalist
    behind: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    reason: str = ""

    def to_json(self) -> JsonObject:
        """The content for tune.json."""
        return {
            "winner": self.winner.name,
            "best_mean": self.best.name,
            "reason": self.reason,
            "behind": {name: {"difference": d, "standard_error": e} for name, (d, e) in self.behind.items()},
        }


def choose(finalists: Sequence[Finalist], *, maximize: bool, seed: int) -> Choice:
    """Chooses a finalist.

    Args:
        finalists: recipes that were trained on all rows; at least one.
        maximize: whether greater values are better.
        seed: random seed for resampling.
    """
    sign = 1 if maximize else -1
    best = max(finalists, key=lambda it: (sign * it.mean, it.is_default))
    behind = {it.name: _behind(best, it, sign, seed) for it in finalists}
    as_good = [it for it in finalists if behind[it.name][0] <= _TOSS_UP_ERRORS * behind[it.name][1]]
    cheaper = [it for it in as_good if it.train_seconds <= _MUCH_CHEAPER * best.train_seconds]
    if not cheaper or best.is_default:
        return Choice(best, best, behind, f"{best.name} has the best mean of its seeds")
    winner = min(cheaper, key=lambda it: (it.train_seconds, -sign * it.mean))
    difference, error = behind[winner.name]
    reason = (
        f"{winner.name} takes {winner.train_seconds / best.train_seconds:.0%} of the time of {best.name}, "
        f"and is behind it by {difference:.4f}, with a standard error of {error:.4f}: within noise"
    )
    return Choice(winner, best, behind, reason)


def is_better(one: Finalist, other: Finalist, *, maximize: bool, seed: int) -> tuple[float, float, bool]:
    """By how much one is better than the other, the standard error of that, and whether it is more than noise.

    Args:
        one: model, as its validation rows show it.
        other: cheaper or simpler model, on the same rows.
        maximize: whether greater values are better.
        seed: random seed for resampling.
    """
    gain, error = _behind(one, other, 1 if maximize else -1, seed)
    return gain, error, gain > _TOSS_UP_ERRORS * error


def _behind(best: Finalist, other: Finalist, sign: int, seed: int) -> tuple[float, float]:
    """How far a finalist is behind the best on the seeds that both have, and the standard error of that."""
    if other is best:
        return 0.0, 0.0
    common = [it for it in best.by_seed if it in other.by_seed]
    differences = np.array([sign * (best.by_seed[it] - other.by_seed[it]) for it in common])
    of_seeds = float(np.std(differences, ddof=1) / np.sqrt(len(common))) if len(common) > 1 else 0.0
    return float(np.mean(differences)), float(np.hypot(_error_of_rows(best, other, common, seed), of_seeds))


def _error_of_rows(best: Finalist, other: Finalist, common: Sequence[int], seed: int) -> float:
    """The jackknife's standard error of the difference by the rows, with the statistics of the seeds added up."""
    seeds = [it for it in common if it in best.rows and it in other.rows]
    if not seeds:
        return 0.0
    one, two = (_together([it.rows[at] for at in seeds]) for it in (best, other))
    left = _left_out(one, seed) - _left_out(two, seed)
    n = len(left)
    return float(np.sqrt((n - 1) / n * np.sum((left - left.mean()) ** 2)))


def _left_out(rows: RowStatistics, seed: int) -> NDArray[np.float64]:
    """The metric without each row; without each of some thousand parts, where there are more rows."""
    n = rows.statistics.shape[0]
    parts = np.random.default_rng(seed).permutation(n) % _MOST_PARTS
    added = add_up(rows.statistics, parts) if n > _MOST_PARTS else rows.statistics
    dense = np.asarray(added.toarray() if hasattr(added, "toarray") else added, dtype=np.float64)
    name = best_metric(rows.task, rows.label_schema)[0]
    return np.asarray(rows.task.formula(dense.sum(0) - dense, rows.label_schema)[name])


def _together(rows: Sequence[RowStatistics]) -> RowStatistics:
    """Rows as several seeds answer them: the statistics of each row, added up."""
    added = rows[0].statistics
    for it in rows[1:]:
        added = added + it.statistics
    return RowStatistics(rows[0].task, added / len(rows), rows[0].label_schema)


def optimism(trials: Sequence[RowStatistics], *, seed: int) -> float | None:
    """How much the best of some trials is too good on average, in the metric's own unit; None for fewer than two.

    Args:
        trials: the same rows as each trial answers them.
        seed: random seed for resampling.
    """
    if len(trials) < 2:
        return None
    task = trials[0].task
    name = best_metric(task, trials[0].label_schema)[0]
    sign = 1 if METRICS.get(name).greater_is_better else -1
    n = trials[0].statistics.shape[0]
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=_RESAMPLES).astype(np.float64)
    outside = (counts == 0).astype(np.float64)
    inside_of, outside_of = (
        np.stack([_scores(rows, weights, name) for rows in trials]) for weights in (counts, outside)
    )
    chosen = np.argmax(np.nan_to_num(sign * inside_of, nan=-np.inf), axis=0)
    elsewhere = float(np.nanmean(outside_of[chosen, np.arange(_RESAMPLES)]))
    best = max(sign * float(_scores(rows, np.ones((1, n)), name)[0]) for rows in trials)
    return best - sign * elsewhere


def _scores(rows: RowStatistics, weights: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """[resamples], the metric of the rows with these weights."""
    sums = np.asarray((rows.statistics.T @ weights.T).T)
    return np.asarray(rows.task.formula(sums, rows.label_schema)[name], dtype=np.float64)
