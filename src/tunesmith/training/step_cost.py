"""What a step of a training takes: time and memory of a model, measured by the code that trains."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.models.device import device_of, without_plans
from tunesmith.models.freezing import keep_frozen_parts_still
from tunesmith.training.job import Job
from tunesmith.training.objective import Objective
from tunesmith.training.optimizer import clip_gradient, make_optimizer
from tunesmith.training.processes import Processes
from tunesmith.training.step_gradient import StepGradient

if TYPE_CHECKING:
    import torch

_REPEATS = 2


@dataclass(frozen=True)
class StepTimes:
    """Seconds of the parts of a step.

    Args:
        gradients_s: [batches], seconds of the forward and backward passes of each batch.
        update_s: seconds of the optimizer's update, with the norm of the gradient.
    """

    gradients_s: tuple[float, ...]
    update_s: float


def time_steps(job: Job, batches: Sequence[NDArray[np.int64]]) -> StepTimes:
    """Trains on some batches, with a learning rate of 0, and times the steps.

    Of several times of the same step, the shortest counts: other programs only make it longer.

    Args:
        job: model, data and settings of the training.
        batches: sequences of each step.
    """
    with without_plans(device_of(job.model)):
        return _Timer(job).run(batches)


class _Timer:
    """The parts of the training loop that a step needs."""

    def __init__(self, job: Job) -> None:
        self.job, self.device = job, device_of(job.model)
        objective = Objective(job.task, job.model, job.model, job.settings)
        self.gradient = StepGradient(job, objective, Processes(), lambda: None)
        self.optimizer = make_optimizer(
            job.model,
            weight_decay=job.settings.weight_decay,
            layer_lr_decay=job.settings.layer_lr_decay,
            head=job.head,
            head_scale=job.head_scale,
        )
        self.trainable: list[torch.nn.Parameter] = [p for p in job.model.parameters() if p.requires_grad]

    def run(self, batches: Sequence[NDArray[np.int64]]) -> StepTimes:
        """The shortest times of each batch, after one step that makes what the first one needs."""
        self.job.model.train()
        keep_frozen_parts_still(self.job.model)
        self._step(batches[0])
        times = np.array([[self._step(batch) for batch in batches] for _ in range(_REPEATS)])
        gradients, updates = times.min(0).T
        return StepTimes(tuple(map(float, gradients)), float(np.median(updates)))

    def _step(self, batch: NDArray[np.int64]) -> tuple[float, float]:
        """The seconds of the gradient and of the update."""
        began = self._now()
        self.gradient.add(batch, 0, self.trainable)
        between = self._now()
        clip_gradient(self.optimizer, self.trainable, self.job.settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return between - began, self._now() - between

    def _now(self) -> float:
        """The clock, when the device has done what it was asked for."""
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)
        return time.perf_counter()
