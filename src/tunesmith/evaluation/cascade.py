"""How many requests the first stage of a cascade may answer, so that the promise holds.

The first stage answers what it is sure of. Of these answers, at most `max_error` may be wrong, tested as the
promise of abstention is (`abstaining`). Where the full model has a promise of its own, all answers that the
cascade gives are held to that as well: a step of the sequence passes only if both tests do (an intersection-union
test). The threshold of the full model stays as it is, so that its answers do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.evaluation.abstaining import JudgedAnswers, Promise, keep_promise

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FullModel:
    """How the full model answers the same rows.

    Args:
        is_given: [rows], whether it answers or abstains.
        is_right: [rows], whether its answer is right.
        max_error: what it has promised; None without a promise.
    """

    is_given: NDArray[np.bool_]
    is_right: NDArray[np.bool_]
    max_error: float | None


def cascade_promise(first: JudgedAnswers, full: FullModel, max_error: float) -> Promise:
    """The lowest threshold of the first stage for which the promise holds; None in it where there is none.

    Args:
        first: independent answers of the first stage to rows that no stage was trained on.
        full: answers of the full model to the same rows.
        max_error: most wrong answers of those that the first stage gives, as a share.
    """
    if full.max_error is None:
        return keep_promise(first, max_error)
    order = np.argsort(-first.confidence, kind="stable")
    given, wrong = full.is_given[order], (full.is_given & ~full.is_right)[order]
    own_wrong = np.concatenate([[0], np.cumsum(~first.is_right[order])])

    def both(sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Answers of the whole cascade, and those of them that are wrong, if the first stage gives so many."""
        left, left_wrong = (np.concatenate([[0], np.cumsum(it)]) for it in (given, wrong))
        return sizes + left[-1] - left[sizes], own_wrong[sizes] + left_wrong[-1] - left_wrong[sizes]

    return keep_promise(first, max_error, together=(both, full.max_error))


def share_right(first: JudgedAnswers, full: FullModel, threshold: float) -> float:
    """The share of rows that the cascade answers rightly, those included from which the full model abstains."""
    by_first = first.confidence >= threshold
    return float(np.mean(np.where(by_first, first.is_right, full.is_right)))
