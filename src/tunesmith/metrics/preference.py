"""How often, and by how much, the chosen answer has a higher reward than the rejected one.

As in RewardBench (Lambert et al. 2024) and TRL's `rewards/accuracies`, except that a tie counts half: a model with
equal rewards then has 0.5, like one that guesses, and not 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import SHARE, Metric, Scores, Share, Shares, Statistics, selected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import Array

metrics = (
    Metric(
        "reward_accuracy",
        "maximize",
        SHARE,
        "reward accuracy",
        "the share of pairs in which the model prefers the chosen reply",
    ),
    Metric(
        "reward_margin",
        "maximize",
        "reward",
        "reward margin",
        "how much more the model prefers the chosen replies than before training, in nats",
    ),
)


_BETA = 0.1
"""The usual strength of DPO, at which the loss is computed."""


def statistics(margins: Array) -> Statistics:
    """Per pair: whether the order is right, the margin, and the loss of DPO at β = 0.1.

    Args:
        margins: [examples], reward of the chosen answer minus that of the rejected one; finite.

    Returns:
        Dense [examples, 4]: 1; 1, 0.5 or 0 for right, tied or wrong; the margin; the loss.
    """
    margin = np.asarray(margins, dtype=np.float64)
    loss = np.logaddexp(0.0, -_BETA * margin)
    return np.stack([np.ones(len(margin)), (np.sign(margin) + 1) / 2, margin, loss], axis=1)


def formula(sums: NDArray[np.float64]) -> Scores:
    """Accuracy, mean margin (in units of reward) and mean loss from sums [..., 4]; 0.0 without pairs."""
    n = np.maximum(sums[..., 0], 1.0)
    return {"reward_accuracy": sums[..., 1] / n, "reward_margin": sums[..., 2] / n, "loss": sums[..., 3] / n}


def shares() -> Shares:
    """Accuracy as a share, for statistics of 4 columns."""
    return {"reward_accuracy": Share(of=selected(4, [0]), right=selected(4, [1]))}
