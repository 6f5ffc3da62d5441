"""Likelihoods of texts: what the tasks share whose model predicts tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.tasks import IGNORED, Batch, Encoded, LossOptions, Seen
from tunesmith.tasks._texts import classification_loss

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


def summed_nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """[b, 2]: each sequence's negative log-likelihood in nats, and its number of scored tokens.

    Args:
        logits: [b, s, v], each already standing where its label stands.
        labels: [b, s].
    """
    import torch
    from torch.nn import functional as F

    each = F.cross_entropy(logits.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
    return torch.stack([each.sum(1), (labels != IGNORED).sum(1).float()], dim=1)


def next_token(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels [b, s - 1] brought together: what stands at i predicts what stands at i + 1."""
    return logits[:, :-1], labels[:, 1:]


def next_token_loss(logits: torch.Tensor, batch: Batch, options: LossOptions) -> torch.Tensor:
    """The cross-entropy of each supervised token after the ones before it, summed."""
    return classification_loss(*next_token(logits, batch["labels"]), options)


def supervised(encoded: Encoded) -> NDArray[np.int64]:
    """[sequences], tokens that have a label and a past; the first of a sequence has none."""
    labels = encoded.ragged["labels"]
    counted = (labels.values != IGNORED).astype(np.int64)
    counted[labels.offsets[:-1][labels.lengths > 0]] = 0
    return labels.sums(counted)


def by_row(seen: Seen) -> NDArray[np.float64]:
    """[rows, 2]: negative log-likelihood and scored tokens, over all windows of each row."""
    return seen.encoded.sum_by_row(np.asarray(seen.kept, dtype=np.float64)[:, :2])


def mean_nll(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nats a token from sums [..., (nll, tokens, …)]; 0 where nothing was scored."""
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1.0))
