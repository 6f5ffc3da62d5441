"""How far scores can be read as probabilities: the expected calibration error, its bias, and its noise.

Answers are put into bins of equal number by their scores (Nguyen and O'Connor 2015). The plug-in ECE is the mean
distance between the mean score of a bin and the share of its answers that are right, weighted by the bins' sizes.
It is too large for few answers: even a perfect model is not right in exactly 90 of 100 cases of 0.9. Two things
make up for that:

- The debiased ECE subtracts what the noise of the shares adds, taken as normal (Kumar, Liang and Ma 2019, arXiv
  1909.10155, appendix): 2·ECE − E[ECE of redrawn shares]. Its expectation is in closed form, the mean of a folded
  normal distribution. For a perfect model, four tenths of the bias stay.
- The noise floor is the 95th percentile of the same estimate for a perfectly calibrated model with these scores:
  answers are drawn to be right with their scores as probabilities.

The interval is that of linearisation, over groups of rows, and begins at 0 where the estimate is below the noise
floor, as a perfect model cannot be excluded then. Measured with 120 draws each: it holds the truth in 91 to 97 %
for an ECE from 0.02 to 0.1 and 250 to 3,000 answers. The BCa bootstrap held it in 78 %: it corrects for the bias
of resampling an absolute value by quantiles that hardly any resample reaches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluation.intervals import Method, intervals
from tunesmith.metrics import Scores, Share, Shares, Statistics, selected

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

Floats = NDArray[np.float64]

MOST_BINS = 15
_DRAWS = 1000
_PERCENTILE = 95
_BLOCK = 10_000_000
_EXACT = 50_000
"""Answers up to which each is drawn; of more, the number of right ones in a bin is drawn as normal."""


@dataclass(frozen=True)
class Reliability:
    """Scores of answers, and which of them are right.

    Args:
        scores: [answers], from 0 to 1.
        is_right: [answers].
        groups: [answers], answers that are not independent of each other; None where all are.
    """

    scores: Floats
    is_right: NDArray[np.bool_]
    groups: NDArray[np.int64] | None = None

    @cached_property
    def bins(self) -> NDArray[np.int64]:
        """[answers], the bin of each; equal scores are in one bin."""
        n = min(MOST_BINS, round(len(self.scores) ** (1 / 3)))
        edges = np.quantile(self.scores, np.arange(1, n) / n)
        _, bins = np.unique(np.searchsorted(edges, self.scores, side="right"), return_inverse=True)
        return bins

    @property
    def n_bins(self) -> int:
        """The number of bins that hold answers."""
        return int(self.bins.max()) + 1

    @cached_property
    def statistics(self) -> Statistics:
        """[answers, 3 · bins]: 1, the score and whether it is right, in the columns of its bin."""
        from scipy import sparse

        n = len(self.scores)
        values = np.stack([np.ones(n), self.scores, self.is_right], axis=1).ravel()
        columns = (3 * self.bins[:, None] + np.arange(3)).ravel()
        return sparse.csr_matrix((values, (np.repeat(np.arange(n), 3), columns)), shape=(n, 3 * self.n_bins))

    def describe(self, method: Method) -> JsonObject:
        """ECE with interval and noise floor, and the bins with theirs, for metrics.json."""
        sums = np.asarray(self.statistics.sum(0)).ravel()
        shares = intervals(self.statistics, _right_by_bin, self._shares(), method, groups=self.groups)
        found, floors = calibration_errors(sums), self.noise_floor(method.seed)
        bins = [
            {"n": int(n), "score": float(score / n), **shares[f"right_{i}"].to_json()}
            for i, (n, score, _) in enumerate(_by_bin(sums))
        ]
        low, high = self._bounds(float(found["ece"]), floors["ece"], method.confidence)
        return {
            "ece": {"value": float(found["ece"]), "low": low, "high": high, "noise_floor": floors["ece"]},
            "ece_plug_in": {"value": float(found["ece_plug_in"]), "noise_floor": floors["ece_plug_in"]},
            "mean_score": float(self.scores.mean()),
            "right": float(self.is_right.mean()),
            "bins": bins,
        }

    def _bounds(self, value: float, floor: float, confidence: float) -> tuple[float, float]:
        """The interval of the ECE: as long as no bin changes its side, the ECE is a mean over answers."""
        from scipy.special import stdtrit

        _, score, right = np.moveaxis(_by_bin(np.asarray(self.statistics.sum(0)).ravel()), -1, 0)
        each = np.sign(right - score)[self.bins] * (self.is_right - self.scores)
        groups = np.arange(len(each)) if self.groups is None else self.groups
        _, members = np.unique(groups, return_inverse=True)
        moved = np.bincount(members, each - each.mean())
        n = len(moved)
        error = np.sqrt((moved**2).sum() * n / max(n - 1, 1)) / len(each)
        half = float(stdtrit(max(n - 1, 1), (1 + confidence) / 2) * error)
        return 0.0 if value <= floor else max(value - half, 0.0), min(value + half, 1.0)

    def _shares(self) -> Shares:
        width = 3 * self.n_bins
        return {
            f"right_{i}": Share(of=selected(width, [3 * i]), right=selected(width, [3 * i + 2]))
            for i in range(self.n_bins)
        }

    def noise_floor(self, seed: int) -> dict[str, float]:
        """The 95th percentile of each estimate, were each score the probability of being right."""
        n, score, _ = np.moveaxis(_by_bin(np.asarray(self.statistics.sum(0)).ravel()), -1, 0)
        drawn = self._drawn_right(np.random.default_rng(seed))
        sums = np.stack(np.broadcast_arrays(n, score, drawn), axis=-1)
        found = calibration_errors(sums.reshape(len(drawn), -1))
        names = ("ece", "ece_plug_in")
        return {name: float(np.percentile(found[name], _PERCENTILE)) for name in names}

    def _drawn_right(self, rng: np.random.Generator) -> Floats:
        """[draws, bins], right answers by bin if each is right with its score as probability."""
        order = np.argsort(self.bins, kind="stable")
        scores, first = self.scores[order], np.searchsorted(self.bins[order], np.arange(self.n_bins))
        if len(scores) > _EXACT:
            mean, variance = (np.add.reduceat(x, first) for x in (scores, scores * (1 - scores)))
            return np.asarray(rng.normal(mean, np.sqrt(variance), (_DRAWS, len(mean))))
        block = max(1, _BLOCK // len(scores))
        drawn = []
        for start in range(0, _DRAWS, block):
            right = rng.random((min(block, _DRAWS - start), len(scores))) < scores
            drawn.append(np.add.reduceat(right, first, axis=1, dtype=np.float64))
        return np.concatenate(drawn)


def _by_bin(sums: Floats) -> Floats:
    """[..., bins, 3] from sums [..., 3 · bins]."""
    return sums.reshape(*sums.shape[:-1], -1, 3)


def calibration_errors(sums: Floats) -> Scores:
    """The ECE, debiased (`ece`) and plug-in (`ece_plug_in`), from sums [..., 3 · bins]."""
    n, score, right = np.moveaxis(_by_bin(sums), -1, 0)
    whole = np.maximum(n, 1.0)
    share = np.clip(right / whole, 0.0, 1.0)
    weight = n / np.maximum(n.sum(-1, keepdims=True), 1.0)
    gap = share - score / whole
    plug_in = (weight * np.abs(gap)).sum(-1)
    redrawn = (weight * _mean_of_folded(gap, np.sqrt(share * (1 - share) / whole))).sum(-1)
    return {"ece": np.maximum(2 * plug_in - redrawn, 0.0), "ece_plug_in": plug_in}


def _right_by_bin(sums: Floats) -> Scores:
    """The share of right answers of each bin, from sums [..., 3 · bins]."""
    n, _, right = np.moveaxis(_by_bin(sums), -1, 0)
    return {f"right_{i}": right[..., i] / np.maximum(n[..., i], 1.0) for i in range(n.shape[-1])}


def _mean_of_folded(mean: Floats, deviation: Floats) -> Floats:
    """The mean of the absolute value of a normal variable."""
    from scipy.special import ndtr

    ratio = mean / np.where(deviation > 0, deviation, 1.0)
    folded = deviation * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + mean * (1 - 2 * ndtr(-ratio))
    return np.where(deviation > 0, folded, np.abs(mean))
