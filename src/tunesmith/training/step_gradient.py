"""The gradient of one step: rows are drawn, cut into forward passes, and their losses added up.

Where the memory runs out, the step is computed again with forward passes of half as many tokens, and so are the
steps after it: the batch, and so what is learned, stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.batches import collate, cut_to_fit, dense_fields
from tunesmith.encoded import Encoded
from tunesmith.models.device import to_device
from tunesmith.models.out_of_memory import free_cached_memory, is_out_of_memory
from tunesmith.tasks import draw
from tunesmith.training.gradient import Part, accumulate_gradient, accumulate_over_rows, sum_gradients
from tunesmith.training.job import Job
from tunesmith.training.objective import Objective
from tunesmith.training.own_batch import own_batch
from tunesmith.training.processes import Processes
from tunesmith.training.randomness import numpy_generator, seed_torch

if TYPE_CHECKING:
    import torch


class StepGradient:
    """Adds the gradient of a step's sequences to the parameters.

    Args:
        job: model, data and settings of the training.
        objective: loss of a forward pass.
        processes: processes that train together.
        between_passes: function that is called between the forward passes of a step.
    """

    def __init__(
        self, job: Job, objective: Objective, processes: Processes, between_passes: Callable[[], None]
    ) -> None:
        self.job, self.settings, self.processes = job, job.settings, processes
        self._objective, self._between_passes = objective, between_passes
        self._most_tokens = job.settings.tokens_per_micro_batch

    def add(self, batch: NDArray[np.int64], step: int, parameters: Sequence[torch.nn.Parameter]) -> float:
        """Adds the gradient, summed over all processes; returns the mean loss.

        Args:
            batch: sequences of the step.
            step: step of the run, from 0.
            parameters: parameters that learn.
        """
        while (loss := self._add_if_it_fits(batch, step)) is None:
            for parameter in parameters:  # what the passes before have left
                parameter.grad = None
        sum_gradients(self.processes, parameters)
        return self._summed(loss)

    def _add_if_it_fits(self, batch: NDArray[np.int64], step: int) -> float | None:
        """Adds this process's share of the gradient; None where the memory of one process has run out."""
        loss, error = None, None
        try:
            loss = self._add(batch, step)
        except Exception as raised:
            # The others already wait for outputs of this process, where rows are compared with each other.
            if not is_out_of_memory(raised) or (self.processes.world > 1 and self.job.task.compares_rows):
                raise
            error = raised
        if not self.processes.any(error is not None):
            return loss
        self._use_smaller_passes(error or MemoryError("out of memory in another process"))
        return None

    def _use_smaller_passes(self, error: Exception) -> None:
        """Halves the tokens of a forward pass, in every process; raises the error where that is not possible."""
        plan, world = self.job.plan, self.processes.world
        whole = plan.most_tokens(self.settings.gradient_accumulation_steps * world)
        now = min(self._most_tokens or whole, whole)
        if now <= plan.longest:
            raise error
        self._most_tokens = max(now // 2, plan.longest)
        free_cached_memory(self.job.model)
        self.job.passes_became_smaller(now, self._most_tokens)

    def _add(self, batch: NDArray[np.int64], step: int) -> float:
        """Adds this process's share of the gradient; returns its share of the mean loss."""
        world, rank = self.processes.world, self.processes.rank
        # Drawn for the whole batch at once, so that every process knows how many items there are.
        drawn = draw(
            self.job.task,
            self.job.train.take(batch),
            numpy_generator(self.settings.seed, "vary", step),
            self.job.tokenizer,
            self.settings.loss,
        )
        cut = cut_to_fit(
            drawn.lengths,
            self.settings.gradient_accumulation_steps * world,
            self._most_tokens,
        )
        own = cut[rank::world]
        parts = [self._part(drawn, positions, step, rank + i * world) for i, positions in enumerate(own)]
        n_items = int(self.job.task.num_items(drawn).sum())
        if self.job.task.compares_rows and len(cut) > 1:
            return self._over_rows(drawn, parts, own, step, n_items)
        return accumulate_gradient(
            self.processes.accelerator,
            parts,
            lambda part, inputs: self._pass(inputs, step, part),
            n_items=n_items,
        )

    def _pass(self, inputs: dict[str, torch.Tensor], step: int, part: int) -> torch.Tensor:
        """The loss of a forward pass, summed over its items."""
        if part:
            self._between_passes()
        # A pass has the same dropout masks, whichever process it falls to.
        return self._objective(inputs, step, self.processes.rank + part * self.processes.world)

    def _over_rows(
        self,
        drawn: Encoded,
        parts: Sequence[Part],
        positions: Sequence[NDArray[np.int64]],
        step: int,
        n_items: int,
    ) -> float:
        """The gradient of a loss that compares all rows of the batch; this process's share of the loss."""
        world, rank = self.processes.world, self.processes.rank
        batch = to_device(dense_fields(drawn), self.job.model)
        return accumulate_over_rows(
            self.processes,
            parts,
            positions,
            lambda part, inputs: self._objective.outputs(inputs, step, rank + part * world),
            lambda outputs: self._objective.loss(outputs, batch) / n_items,
            n_rows=len(drawn),
        )

    def _part(self, drawn: Encoded, positions: NDArray[np.int64], step: int, part: int) -> Part:
        used = drawn.take(positions if len(positions) else np.arange(1))
        batch = collate(used, pad_token_id=self.job.tokenizer.pad_token_id)
        if self.job.hooks.collate is not None:
            seed_torch(self.settings.seed, "collate", step, part)
            batch = own_batch(self.job.hooks.collate, batch)
        return Part(to_device(batch, self.job.model), weight=float(len(positions) > 0))

    def _summed(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.processes.world == 1:
            return value
        import torch

        total = torch.tensor([value], dtype=torch.float64, device=self.processes.accelerator.device)
        self.processes.sum_([total])
        return float(total)
