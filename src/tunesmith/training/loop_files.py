"""What the loop saves of itself, and what it resumes from: weights, optimizer, rates, average and counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tunesmith.events import Events, Saved
from tunesmith.tasks import best_metric
from tunesmith.training.averaging import WeightAverage, without_average
from tunesmith.training.callbacks import Callbacks
from tunesmith.training.checkpoints import Checkpoints, State, load_model_tensors, model_tensors
from tunesmith.training.guards import require_finite_weights
from tunesmith.training.hook_states import load_hooks, pack_hooks
from tunesmith.training.job import Job
from tunesmith.training.optimizer import load_optimizer_tensors, optimizer_tensors
from tunesmith.training.processes import Processes
from tunesmith.training.rates import Rates

if TYPE_CHECKING:
    import torch


class LoopFiles:
    """Saves the parts of a loop, and restores them.

    Args:
        job: model, data and settings of the training.
        checkpoints: checkpoints of the run.
        events: events, which are sent to listeners.
        processes: processes that train together.
        optimizer: optimizer of the loop.
        rates: learning rates of the loop.
        callbacks: callbacks of a program.
        average: average of the last weights.
    """

    def __init__(
        self,
        job: Job,
        checkpoints: Checkpoints,
        events: Events,
        processes: Processes,
        *,
        optimizer: torch.optim.Optimizer,
        rates: Rates,
        callbacks: Callbacks,
        average: WeightAverage,
    ) -> None:
        self.job, self.checkpoints, self.events, self.processes = job, checkpoints, events, processes
        self.optimizer, self.rates = optimizer, rates
        self.callbacks, self.average = callbacks, average

    def save(self, state: State) -> None:
        """Writes a checkpoint, in the first process.

        Raises:
            NonFiniteError: a weight is not finite; nothing is written.
        """
        require_finite_weights(self._trained(), step=state.step)
        if self.processes.is_first:
            tensors = self.optimizer_tensors(state)
            self.checkpoints.save(state, model_tensors(self.job.model), tensors)
            self.events.emit(Saved(state.step))

    def resume(self) -> State | None:
        """Restores the newest whole checkpoint, and returns its state; None where there is none."""
        # In turn, because it removes what a killed process has left.
        checkpoint = self.processes.in_turn(self.checkpoints.newest)
        self._report_notices()
        if checkpoint is None:
            return None
        state = checkpoint.state()
        self.processes.first(lambda: self.checkpoints.prune(state))
        load_model_tensors(self.job.model, checkpoint.model_tensors())
        tensors = checkpoint.optimizer_tensors()
        self.average.load(tensors)
        self._load_optimizer(state, without_average(tensors))
        self.events.note(f"resuming from step {state.step} of {self.job.plan.total_steps}")
        return state

    def load_best(self, state: State) -> None:
        """Puts the weights of the best step into the model."""
        name, greater_is_better = best_metric(self.job.task, self.job.label_schema)
        best = self.checkpoints.best(state, name, greater_is_better=greater_is_better)
        self._report_notices()
        if best is not None:
            load_model_tensors(self.job.model, best.model_tensors())
        self.job.model.eval()

    def optimizer_tensors(self, state: State) -> dict[str, torch.Tensor]:
        """The optimizer's state; that of a program's own parts too, what is no tensor put into `state`."""
        if not self.job.hooks.in_loop:
            tensors = optimizer_tensors(self.job.model, self.optimizer)
        else:
            state.hooks, tensors = pack_hooks(self.optimizer, self.rates, self.callbacks)
        return {**tensors, **self.average.tensors()}

    def _trained(self) -> Mapping[str, torch.Tensor]:
        return {name: p for name, p in self.job.model.named_parameters() if p.requires_grad}

    def _load_optimizer(self, state: State, tensors: dict[str, torch.Tensor]) -> None:
        if state.hooks:
            load_hooks(state.hooks, tensors, self.optimizer, self.rates, self.callbacks)
        else:
            load_optimizer_tensors(self.job.model, self.optimizer, tensors)

    def _report_notices(self) -> None:
        for notice in self.checkpoints.notices:
            self.events.warn(notice)
        self.checkpoints.notices.clear()
