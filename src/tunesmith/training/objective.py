"""The loss of one forward pass, with dropout masks, R-Drop and NEFTune.

R-Drop (Wu et al. 2021, arXiv 2106.14448): two passes with different dropout masks, and the symmetric
Kullback-Leibler divergence between them added to the mean of their losses.
NEFTune (Jain et al. 2023, arXiv 2310.05914): uniform noise on the token embeddings, of size α/√(n·d), n real
tokens and d features.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tunesmith.errors import RecipeError
from tunesmith.models.device import autocast
from tunesmith.tasks import Task
from tunesmith.training.randomness import seed_torch

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tunesmith.training.own_loss import OwnLoss
    from tunesmith.training.settings import Settings
    from tunesmith.types import Model


class Objective:
    """From a batch to its summed loss.

    Args:
        task: task with the forward pass and the loss.
        model: model, perhaps wrapped for several processes.
        plain: the same model, not wrapped.
        settings: settings of the loop.
        own_loss: a program's own loss, in place of the task's.
    """

    def __init__(
        self, task: Task, model: Model, plain: Model, settings: Settings, own_loss: OwnLoss | None = None
    ) -> None:
        self.task, self.model, self.plain, self.settings = task, model, plain, settings
        self._own_loss = own_loss

    def __call__(self, batch: dict[str, torch.Tensor], step: int, part: int) -> torch.Tensor:
        """The loss, summed over the batch's items.

        Args:
            batch: padded tensors.
            step: step of the run, from 0.
            part: number of the forward pass within the step, over all processes.
        """
        outputs = self._forward(batch, step, part, 0)
        loss = self.loss(outputs, batch)
        if not self.settings.r_drop_alpha:
            return loss
        again = self._forward(batch, step, part, 1)
        both = (loss + self.loss(again, batch)) / 2
        regularised: torch.Tensor = both + self.settings.r_drop_alpha * self.task.divergence(
            outputs, again, batch
        )
        return regularised

    def outputs(self, batch: dict[str, torch.Tensor], step: int, part: int) -> torch.Tensor:
        """The outputs that the loss is computed from; the same each time, see `__call__` for the arguments."""
        return self._forward(batch, step, part, 0)

    def loss(self, outputs: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The loss of outputs, summed over the batch's items."""
        if self._own_loss is not None:
            return self._own_loss(outputs, batch)
        loss: torch.Tensor = self.task.loss(outputs, batch, self.settings.loss)
        return loss

    def _forward(self, batch: dict[str, torch.Tensor], step: int, part: int, draw: int) -> torch.Tensor:
        """The output, with the dropout masks of this step and pass."""
        seed_torch(self.settings.seed, "dropout", step, part, 0, draw)
        # Only the forward pass: a backward pass under autocast would round the gradient of the float32 head.
        with (
            noisy_embeddings(self.plain, batch, self.settings.neftune_noise_alpha),
            autocast(self.plain, bf16=self.settings.bf16),
        ):
            if self._own_loss is not None:  # which is promised whole outputs
                return self.task.forward(self.model, batch)
            return self.task.forward_items(self.model, batch)


@contextlib.contextmanager
def noisy_embeddings(model: Model, batch: dict[str, torch.Tensor], alpha: float) -> Iterator[None]:
    """A context in which uniform noise is added to the embeddings of the input.

    Raises:
        RecipeError: the model did not read its token table.
    """
    if not alpha:
        yield
        return
    import torch

    mask = batch.get("attention_mask")
    tokens = mask.sum(1).clamp(min=1) if mask is not None else None
    added: list[bool] = []

    def add_noise(_: nn.Module, __: object, embedded: torch.Tensor) -> torch.Tensor:
        if not isinstance(embedded, torch.Tensor):  # I-BERT's table also returns a scale
            raise _no_noise("whose token table returns more than embeddings")
        added.append(True)
        n = embedded.shape[1] if tokens is None or len(tokens) != len(embedded) else tokens[:, None, None]
        size = alpha / (torch.as_tensor(n, device=embedded.device) * embedded.shape[-1]).sqrt()
        return embedded + size * (2 * torch.rand_like(embedded) - 1)

    handles = [table.register_forward_hook(add_noise) for table in _tables_that_read(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if not added:
        raise _no_noise("which does not read its token table")


def _no_noise(why: str) -> RecipeError:
    return RecipeError(
        f"train.neftune_noise_alpha has no effect on this model, {why}.", remedy="Leave it out."
    )


def _tables_that_read(model: Model) -> list[nn.Module]:
    """The modules that read a text: all that hold the token table, except those of a decoder.

    T5 and BART also hold their table as `shared`, which never computes; an output layer may share it.
    """
    from torch import nn

    table, reader = model.get_input_embeddings(), model
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        reader = model.get_encoder()
    same = [m for m in reader.modules() if getattr(m, "weight", None) is table.weight]
    return [module for module in same if not isinstance(module, nn.Linear)] or [table]
