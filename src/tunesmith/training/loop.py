"""The training loop, on accelerate, the same for every task.

In a step, the rows of the plan are split into forward passes. The gradient of the summed loss is added up over the
items of the global batch, checked, clipped, and used for an update. Random choices are a function of (seed, step),
so a resumed run needs no state of a sampler or generator. Validation chooses the best step. Checkpoints keep the
best and the newest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.batches import collate, cut_to_fit, dense_fields
from tunesmith.encoded import Encoded
from tunesmith.errors import InterruptedRunError
from tunesmith.events import Evaluation, Events, Saved, Started, Step
from tunesmith.models.device import to_device
from tunesmith.models.freezing import keep_frozen_parts_still
from tunesmith.tasks import LabelSchema, Task, best_metric, draw
from tunesmith.training.checkpoints import Checkpoints, State, load_model_tensors, model_tensors
from tunesmith.training.gradient import Part, accumulate_gradient, accumulate_over_rows, sum_gradients
from tunesmith.training.guards import require_finite
from tunesmith.training.objective import Objective
from tunesmith.training.optimizer import (
    clip_gradient,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    set_learning_rate,
)
from tunesmith.training.plan import Plan
from tunesmith.training.processes import Processes
from tunesmith.training.randomness import numpy_generator
from tunesmith.training.schedule import learning_rate_factor
from tunesmith.training.settings import Settings
from tunesmith.training.signals import StopRequest

if TYPE_CHECKING:
    from torch import nn

    from tunesmith.types import Model, Tokenizer


@dataclass
class Job:
    """Everything that the loop works on.

    Args:
        model: model to train.
        task: task that the model learns.
        train: training sequences.
        evaluate: function that returns the scores of the validation rows, by name.
        plan: plan of the sequences in each step.
        settings: settings of the loop.
        tokenizer: tokenizer of the model.
        location: function from a row to its file and line, for messages.
        label_schema: label schema of the task.
        head: linear head of the task, if it has one.
        head_scale: unit of the head's outputs.
    """

    model: Model
    task: Task
    train: Encoded
    evaluate: Callable[[], dict[str, float]]
    plan: Plan
    settings: Settings
    tokenizer: Tokenizer
    location: Callable[[int], str]
    label_schema: LabelSchema = field(default_factory=dict)
    head: nn.Linear | None = None
    head_scale: float = 1.0


def never() -> bool:
    """False: the default of `should_stop`."""
    return False


def run_loop(
    job: Job,
    checkpoints: Checkpoints,
    events: Events,
    processes: Processes | None = None,
    should_stop: Callable[[], bool] = never,
) -> State:
    """Trains to the end, and leaves the weights of the best step in the model.

    Args:
        job: model, data and settings of the training.
        checkpoints: checkpoints that are written, and from which the training resumes.
        events: events, which are sent to listeners.
        processes: processes that train together; by default, only this one.
        should_stop: function that is called after every step; if it returns True, everything is saved, and the
            training ends.

    Raises:
        NonFiniteError: a loss or gradient norm is not a number.
        InterruptedRunError: a signal or `should_stop` stopped the training; everything is saved.
    """
    return _Loop(job, checkpoints, events, processes or Processes(), should_stop).run()


class _Loop:
    """One run of the loop."""

    def __init__(
        self,
        job: Job,
        checkpoints: Checkpoints,
        events: Events,
        processes: Processes,
        should_stop: Callable[[], bool],
    ) -> None:
        self.job, self.settings = job, job.settings
        self.checkpoints, self.events, self.processes = checkpoints, events, processes
        self.should_stop = should_stop
        self.state = State()
        self._saved_step = 0
        self.optimizer = make_optimizer(
            job.model,
            weight_decay=self.settings.weight_decay,
            layer_lr_decay=self.settings.layer_lr_decay,
            head=job.head,
            head_scale=job.head_scale,
        )
        self.trainable = [p for p in job.model.parameters() if p.requires_grad]

    def run(self) -> State:
        """Trains to the end."""
        self._resume()
        self.events.emit(Started(self.state.step, self.job.plan.total_steps))
        self._prepare()
        self._started, self._start_seconds, self._start_tokens = (
            time.perf_counter(), self.state.seconds, self.state.tokens,
        )  # fmt: skip
        self._enter_training_mode()
        with StopRequest(until_the_end=self.processes.world > 1) as signals:
            while not self._is_done():
                self._step()
                if self._is_due(self.settings.eval_steps):
                    self._evaluate()
                    self._enter_training_mode()
                is_best = self.state.best_step == self.state.step
                if is_best or self._is_due(self.settings.save_steps):
                    self._save()
                self._stop_if_asked(signals.signal_name)
        if self.processes.is_first:
            self._load_best()
        return self.state

    def _prepare(self) -> None:
        """Gives model and optimizer to accelerate; several processes begin from the weights of the first."""
        model, accelerator = self.job.model, self.processes.accelerator
        if self.processes.world == 1:
            self.model, self.optimizer = accelerator.prepare(model, self.optimizer)
        else:
            self.processes.copy_from_first_([*model.parameters(), *model.buffers()])
            self.model = model
        self._objective = Objective(self.job.task, self.model, model, self.settings)

    def _enter_training_mode(self) -> None:
        self.model.train()
        keep_frozen_parts_still(self.job.model)

    def _is_done(self) -> bool:
        patience = self.settings.early_stopping_patience
        stopped_early = patience is not None and self.state.evals_without_improvement >= patience
        return stopped_early or self.state.step >= self.job.plan.total_steps

    def _is_due(self, every: int) -> bool:
        """Every so many steps and at the end; the last time before the end is skipped if close to it."""
        left = self.job.plan.total_steps - self.state.step
        return not left or (self.state.step % every == 0 and left > every // 4)

    def _step(self) -> None:
        step, settings = self.state.step, self.settings
        batch = self.job.plan.batch(step)
        rate = settings.learning_rate * learning_rate_factor(
            step,
            self.job.plan.total_steps,
            kind=settings.lr_scheduler_type,
            warmup_steps=settings.warmup_steps,
        )
        set_learning_rate(self.optimizer, rate)
        loss = self._gradient(batch, step)
        norm = clip_gradient(self.optimizer, self.trainable, settings.max_grad_norm)
        require_finite(
            {"loss": loss, "gradient norm": norm},
            step=step + 1,
            rows=batch,
            location=lambda sequence: self.job.location(int(self.job.train.rows[sequence])),
            model=self.job.model,
            learning_rate=rate,
        )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._count(batch)
        self._report(loss, norm, rate)

    def _gradient(self, batch: NDArray[np.int64], step: int) -> float:
        """Adds the gradient of the step's sequences, and returns their mean loss over all processes."""
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
            self.settings.tokens_per_micro_batch,
        )
        parts = [self._part(drawn, positions) for positions in cut[rank::world]]
        n_items = int(self.job.task.num_items(drawn).sum())
        if self.job.task.compares_rows and len(cut) > 1:
            loss = self._gradient_over_rows(drawn, parts, cut[rank::world], step, n_items)
        else:
            loss = accumulate_gradient(
                self.processes.accelerator,
                parts,
                # A pass has the same dropout masks, whichever process it falls to.
                lambda part, inputs: self._objective(inputs, step, rank + part * world),
                n_items=n_items,
            )
        sum_gradients(self.processes, self.trainable)
        return self._summed(loss)

    def _gradient_over_rows(
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
            lambda outputs: self.job.task.loss(outputs, batch, self.settings.loss) / n_items,
            n_rows=len(drawn),
        )

    def _part(self, drawn: Encoded, positions: NDArray[np.int64]) -> Part:
        used = drawn.take(positions if len(positions) else np.arange(1))
        batch = collate(used, pad_token_id=self.job.tokenizer.pad_token_id)
        return Part(to_device(batch, self.job.model), weight=float(len(positions) > 0))

    def _summed(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.processes.world == 1:
            return value
        import torch

        total = torch.tensor([value], dtype=torch.float64, device=self.processes.accelerator.device)
        self.processes.sum_([total])
        return float(total)

    def _count(self, batch: NDArray[np.int64]) -> None:
        self.state.step += 1
        self.state.examples += len(batch)
        self.state.tokens += int(self.job.train.lengths[batch].sum())
        self.state.seconds = self._start_seconds + time.perf_counter() - self._started

    def _report(self, loss: float, norm: float, rate: float) -> None:
        state, plan = self.state, self.job.plan
        here = state.seconds - self._start_seconds
        self.events.emit(
            Step(
                state.step,
                plan.total_steps,
                epoch=plan.epochs_done(state.step),
                loss=loss,
                grad_norm=norm,
                learning_rate=rate,
                tokens_per_s=(state.tokens - self._start_tokens) / max(here, 1e-9),
                seconds_left=(plan.total_steps - state.step) * state.seconds / state.step,
                is_logged=state.step % self.settings.logging_steps == 0
                or state.step in (1, plan.total_steps),
            )
        )

    def _evaluate(self) -> None:
        """Scores the validation rows and remembers the best step."""
        scores = self.processes.share(self.job.evaluate())
        state = self.state
        name, greater_is_better = best_metric(self.job.task, self.job.label_schema)
        state.seconds = self._start_seconds + time.perf_counter() - self._started
        value = scores[name]
        sign = 1 if greater_is_better else -1
        gain = sign * (value - state.best_value) if state.best_step >= 0 else 1.0
        state.evals_without_improvement = 0 if gain > 0 else state.evals_without_improvement + 1
        if gain >= 0:  # the later of equal steps, since its learning rate was lower
            state.best_step, state.best_value = state.step, value
        state.history.append({"step": state.step, **scores})
        self.events.emit(Evaluation(state.step, scores, name, state.best_step == state.step))

    def _save(self) -> None:
        if not self.processes.is_first or self._saved_step == self.state.step:
            return
        self._saved_step = self.state.step
        self.state.seconds = self._start_seconds + time.perf_counter() - self._started
        self.checkpoints.save(
            self.state, model_tensors(self.job.model), optimizer_tensors(self.job.model, self.optimizer)
        )
        self.events.emit(Saved(self.state.step))

    def _stop_if_asked(self, signal_name: str) -> None:
        """Saves and ends the loop in every process if one of them must stop."""
        if not self.processes.any(bool(signal_name) or self.should_stop()):
            return
        cause = signal_name or ("request" if self.processes.world == 1 else "another process or a request")
        self._save()
        self.processes.wait()
        raise InterruptedRunError(
            f"stopped by {cause} after step {self.state.step} of {self.job.plan.total_steps}; "
            "everything is saved.",
            remedy="The same command resumes from there.",
        )

    def _resume(self) -> None:
        # In turn, because it removes what a killed process has left.
        checkpoint = self.processes.in_turn(self.checkpoints.newest)
        self._report_notices()
        if checkpoint is None:
            return
        self.state = checkpoint.state()
        self._saved_step = self.state.step
        load_model_tensors(self.job.model, checkpoint.model_tensors())
        load_optimizer_tensors(self.job.model, self.optimizer, checkpoint.optimizer_tensors())
        self.events.note(f"resuming from step {self.state.step} of {self.job.plan.total_steps}")

    def _load_best(self) -> None:
        name, greater_is_better = best_metric(self.job.task, self.job.label_schema)
        best = self.checkpoints.best(self.state, name, greater_is_better=greater_is_better)
        self._report_notices()
        if best is not None:
            load_model_tensors(self.job.model, best.model_tensors())
        self.job.model.eval()

    def _report_notices(self) -> None:
        for notice in self.checkpoints.notices:
            self.events.warn(notice)
        self.checkpoints.notices.clear()
        self.checkpoints.notices.clear()
