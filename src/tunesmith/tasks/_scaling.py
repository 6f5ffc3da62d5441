"""A scale and a shift of a head's outputs, which make probabilities of them that can be believed.

A linear head holds both, so that whoever loads the saved model gets calibrated probabilities:

    outputs' = outputs · scale + bias        weight' = scale · weight,   bias' = scale · bias + shift
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.encoded import Ragged
from tunesmith.tasks._types import EvalPredictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import JsonObject


@dataclass(frozen=True)
class Scaling:
    """A scale and a shift of each output of a head.

    Args:
        scale: [k], positive factor of each output; of one element, the factor of all.
        bias: [k], what is added to each output afterwards; of one element, to all.
    """

    scale: tuple[float, ...] = (1.0,)
    bias: tuple[float, ...] = (0.0,)

    @classmethod
    def of(cls, entry: JsonObject) -> Scaling:
        """What `to_json` wrote."""
        return cls(tuple(entry["scale"]), tuple(entry["bias"]))

    def to_json(self) -> JsonObject:
        """The content for JSON files."""
        return {"scale": list(self.scale), "bias": list(self.bias)}

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return set(self.scale) == {1.0} and set(self.bias) == {0.0}

    def __call__(self, outputs: NDArray[np.floating]) -> NDArray[np.float64]:
        """Scaled outputs [..., k] in full precision."""
        return np.asarray(outputs, dtype=np.float64) * self.scale + self.bias

    def inverse(self) -> Scaling:
        """What takes it back."""
        scale, bias = np.broadcast_arrays(self.scale, self.bias)
        back = 1 / scale
        return Scaling(tuple(back.tolist()), tuple((0.0 - bias * back).tolist()))

    def applied(self, evaluated: EvalPredictions) -> EvalPredictions:
        """Predictions as a model with this scaling in its head makes them."""
        outputs: Any = evaluated.outputs
        if isinstance(outputs, Ragged):
            return replace(
                evaluated, outputs=Ragged(self(outputs.values).astype(np.float32), outputs.offsets)
            )
        return replace(evaluated, outputs=self(outputs).astype(np.float32))


@dataclass(frozen=True)
class GivenAnswers:
    """The answers that were given, each with what its score is computed from and whether it is right.

    The score of an answer is the mean, over its parts, of the probability that was chosen. An answer of one part
    is a label; one of several is an entity of several words.

    Args:
        logits: [parts, c], what the probabilities are the softmax of; -inf where there is no choice.
        chosen: [parts], the choice.
        answers: [parts], number of the answer that a part belongs to, ascending and without gaps.
        is_right: [answers], whether the answer is right.
        rows: [answers], the row of each answer.
    """

    logits: NDArray[np.floating]
    chosen: NDArray[np.int64]
    answers: NDArray[np.int64]
    is_right: NDArray[np.bool_]
    rows: NDArray[np.int64]

    @classmethod
    def of_rows(
        cls,
        logits: NDArray[np.floating],
        is_right: NDArray[np.bool_],
        chosen: NDArray[np.int64] | None = None,
    ) -> GivenAnswers:
        """One answer a row: its choice, or the most probable one."""
        rows = np.arange(len(logits))
        return cls(logits, logits.argmax(-1) if chosen is None else chosen, rows, is_right, rows)

    def __len__(self) -> int:
        return len(self.is_right)

    def take(self, chosen: NDArray[np.int64]) -> GivenAnswers:
        """Some of the answers, by their numbers, ascending."""
        parts = np.isin(self.answers, chosen)
        numbers = np.searchsorted(chosen, self.answers[parts])
        return GivenAnswers(
            self.logits[parts], self.chosen[parts], numbers, self.is_right[chosen], self.rows[chosen]
        )

    def scores(self, factor: float = 1.0) -> NDArray[np.float64]:
        """[answers], the score of each answer if all logits were multiplied by a factor."""
        logits = factor * np.asarray(self.logits, dtype=np.float64)
        exponentials = np.exp(logits - logits.max(-1, keepdims=True, initial=-np.inf))
        each = exponentials[np.arange(len(logits)), self.chosen] / exponentials.sum(-1)
        parts = np.bincount(self.answers, minlength=len(self))
        return np.asarray(np.bincount(self.answers, each, minlength=len(self)) / np.maximum(parts, 1))
