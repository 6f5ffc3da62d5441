"""Whether a text is unlike anything in training, by the features that the head of the fine-tuned model reads.

The training texts differ from their mean in few directions, and a text out of scope leaves these directions. So
the score is a Mahalanobis distance, of the directions from the mean (the length of the difference says little),
with a covariance that is shrunk by 30 % (Lee et al. 2018; Podolskiy et al. 2021). Of the covariance, the 100
strongest directions are kept, and the others count alike, so that what is saved is small. The score is in units
of the distance that one in a hundred validation texts exceeds: above 1 is out of scope.

No labels are needed, so every task whose head reads one vector a text has the score. `benchmarks/trust-scope.md`
has what other distances gave.
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

_SHRINKAGE = 0.3
_MOST_DIRECTIONS = 100
_FEWEST_ROWS = 20
_MEAN, _DIRECTIONS, _LIMIT = "scope.mean", "scope.directions", "scope.limit"


@dataclass(frozen=True)
class Scope:
    """What the training texts look like to the head.

    Args:
        mean: [d], mean of their features. directions: [k, d], orthogonal directions in which they differ; the
        longer, the more usual, and shorter than 1. limit: distance that `EXPECTED` of the validation texts
        exceed.
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
        found = cls(mean.astype(np.float32), _usual_directions(_unit(train - mean)), 1.0)
        limit = _exceeded_by(found.scores(validation), EXPECTED)
        return cls(found.mean, found.directions, limit) if limit > 0 else None

    def scores(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """[rows], how far each text is from the training texts; above 1 is out of scope.

        Args:
            features: [rows, d], inputs of the head.
        """
        away = _unit(np.asarray(features, dtype=np.float64) - self.mean)
        usual = np.square(away @ self.directions.T.astype(np.float64)).sum(1)
        return np.asarray(np.sqrt(np.maximum(np.square(away).sum(1) - usual, 0)) / self.limit)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What is saved."""
        return {_MEAN: self.mean, _DIRECTIONS: self.directions, _LIMIT: np.array([self.limit])}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Scope | None:
        """What `tensors` gave; None where a model has no scope."""
        if _LIMIT not in tensors:
            return None
        return cls(tensors[_MEAN], tensors[_DIRECTIONS], float(tensors[_LIMIT][0]))


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors [rows, d] of length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny))


def _usual_directions(away: NDArray[np.float64]) -> NDArray[np.float32]:
    """[k, d], the strongest directions v of unit vectors, by the square root of what the distance does not count.

    With S the mean of their squares and s the mean of its diagonal, (1 - a) S + a s I has the eigenvalues
    (1 - a) λ + a s. In units of the smallest one, the squared distance of a unit vector u is
    1 - Σ (u·v)² (1 - a) λ / ((1 - a) λ + a s).
    """
    moments = away.T @ away / len(away)
    strengths, directions = np.linalg.eigh(moments)
    strongest = np.arange(len(strengths))[::-1][:_MOST_DIRECTIONS]
    kept = (1 - _SHRINKAGE) * np.maximum(strengths[strongest], 0)
    floor = max(_SHRINKAGE * float(np.trace(moments)) / len(moments), np.finfo(np.float64).tiny)
    return np.asarray((directions[:, strongest] * np.sqrt(kept / (kept + floor))).T, dtype=np.float32)


def _exceeded_by(scores: NDArray[np.float64], share: float) -> float:
    """The score that a share of texts like these exceed at most; of few texts, the largest."""
    rank = min(math.ceil((len(scores) + 1) * (1 - share) - 1e-9), len(scores))
    return float(np.partition(scores, rank - 1)[rank - 1])
