"""Tasks whose model predicts each token from those before it: what is learned, and how it is scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.tasks import Batch, Encoded, LossOptions, Task
from tunesmith.tasks import _language as language

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from tunesmith.types import Model


class NextToken(Task, abstract=True):
    """A task with a label for each token that is learned; the others are only read."""

    def num_items(self, encoded: Encoded) -> NDArray[np.int64]:
        """See Task: tokens that are learned."""
        return language.supervised(encoded)

    def forward_items(self, model: Model, batch: Batch) -> torch.Tensor:
        """See Task; only where a token is learned or scored."""
        return language.forward_where_labelled(model, batch)

    def loss(self, outputs: torch.Tensor, batch: Batch, options: LossOptions) -> torch.Tensor:
        """See Task."""
        return language.next_token_loss(outputs, batch, options)

    def select_outputs(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """See Task: [b, 2], negative log-likelihood and number of scored tokens."""
        return language.next_token_nll(outputs, batch["labels"])
