"""Learning from few rows a label: rows of one label are drawn together, and those of other labels apart.

The head is left out meanwhile. The loss compares what it would see of the rows of a batch: supervised contrastive
learning (Khosla et al. 2020, arXiv 2004.11362, the loss `L_out`). A linear head is fitted afterwards. SetFit
(Tunstall et al. 2022, arXiv 2209.11055) reads two texts for every pair that it compares. Here a batch of 16 texts
has 120 pairs.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from tunesmith.tasks import Schedule, Task

if TYPE_CHECKING:
    import torch

    from tunesmith.tasks import Batch, LossOptions

CONTRASTIVE = "contrastive"
TEMPERATURE = 0.3
"""Divides the cosines. The paper takes 0.1; from eight rows a label, 0.3 was better on trec and tweet_emotion."""
_SCHEDULE = Schedule(most_epochs=16, rows_per_batch=16)


def task_to_learn(task: Task, method: str) -> Task:
    """What the training loop learns with a method: the task, or to tell its labels apart.

    Args:
        task: task of the recipe.
        method: `train.method`.
    """
    if method != CONTRASTIVE:
        return task
    made = copy(task)  # a task's object has no state; the copy differs from it by these members alone
    vars(made).update(compares_rows=True, schedule=_SCHEDULE, loss=_loss)
    return made


def _loss(features: torch.Tensor, batch: Batch, _: LossOptions) -> torch.Tensor:
    return contrastive_loss(features, batch["labels"])


def contrastive_loss(
    features: torch.Tensor, labels: torch.Tensor, temperature: float = TEMPERATURE
) -> torch.Tensor:
    """The loss summed over the rows; a row without another one of its label adds nothing.

    Args:
        features: [b, d], what the head would see.
        labels: [b], number of each row's label.
        temperature: divisor of the cosines.
    """
    import torch

    unit = torch.nn.functional.normalize(features.float(), dim=-1)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    # Not minus infinity, of which a batch of one row would have a gradient that is not a number.
    similarity = (unit @ unit.T / temperature).masked_fill(itself, torch.finfo(unit.dtype).min)
    others = (labels[:, None] == labels[None, :]) & ~itself
    likelihood = similarity.log_softmax(-1).masked_fill(~others, 0.0)
    return -(likelihood.sum(-1) / others.sum(-1).clamp(min=1)).sum()
