"""Whether a text is unlike anything in training, by the features that the head of the fine-tuned model reads.

The training texts differ from their mean in few directions: a tenth of the directions holds nine tenths of their
variance. A text out of scope leaves these directions. Its score is the share of its distance from the mean that is
not in them (the residual of Wang et al. 2022, arXiv 2203.10807, relative to the whole), in units of the share that
one in a hundred validation texts exceeds. So a score above 1 is out of scope.

No labels are needed, so every task whose head reads one vector a text has the score. On snips with one intent left
out of training, it was better than the Mahalanobis distance (Lee et al. 2018) and the distance to the nearest
training texts (Sun et al. 2022): `benchmarks/trust-scope.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

EXPECTED = 0.01
"""Share of texts like the validation texts that are called out of scope."""

_VARIANCE = 0.9
"""Share of the variance of the training texts that the kept directions hold."""

_FEWEST_ROWS = 20
_MEAN, _DIRECTIONS, _LIMIT = "scope.mean", "scope.directions", "scope.limit"


@dataclass(frozen=True)
class Scope:
    """What the training texts look like to the head.

    Args:
        mean: [d], mean of their features.
        directions: [k, d], orthonormal directions in which they differ.
        limit: residual that `EXPECTED` of the validation texts exceed.
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]
    limit: float

    @classmethod
    def fit(cls, train: NDArray[np.float32], validation: NDArray[np.float32]) -> Scope | None:
        """The scope of a model; None where there are too few rows, or all features are the same.

        Args:
            train: [rows, d], features of training texts.
            validation: [rows, d], features of texts that were not trained on.
        """
        if min(len(train), len(validation)) < _FEWEST_ROWS:
            return None
        mean = train.mean(0, dtype=np.float64)
        centred = train - mean
        variances, directions = np.linalg.eigh(centred.T @ centred)
        shares = np.cumsum(variances[::-1]) / max(variances.sum(), np.finfo(np.float64).tiny)
        kept = int(np.searchsorted(shares, _VARIANCE)) + 1
        found = cls(mean.astype(np.float32), directions[:, ::-1][:, :kept].T.astype(np.float32).copy(), 1.0)
        limit = _exceeded_by(found.scores(validation), EXPECTED)
        return cls(found.mean, found.directions, limit) if limit > 0 else None

    def scores(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """[rows], how far each text is out of the directions of the training texts; above 1 is out of scope.

        Args:
            features: [rows, d], inputs of the head.
        """
        centred = np.asarray(features, dtype=np.float64) - self.mean
        whole = np.square(centred).sum(1)
        inside = np.square(centred @ self.directions.T.astype(np.float64)).sum(1)
        residual = np.sqrt(np.maximum(whole - inside, 0) / np.maximum(whole, np.finfo(np.float64).tiny))
        return np.asarray(residual / self.limit)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What is saved."""
        return {_MEAN: self.mean, _DIRECTIONS: self.directions, _LIMIT: np.array([self.limit])}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Scope | None:
        """What `tensors` gave; None where a model has no scope."""
        if _LIMIT not in tensors:
            return None
        return cls(tensors[_MEAN], tensors[_DIRECTIONS], float(tensors[_LIMIT][0]))


def _exceeded_by(scores: NDArray[np.float64], share: float) -> float:
    """The score that a share of texts like these exceed at most; of few texts, the largest."""
    rank = min(math.ceil((len(scores) + 1) * (1 - share) - 1e-9), len(scores))
    return float(np.partition(scores, rank - 1)[rank - 1])
