"""The training loop, on accelerate, the same for every task.

In a step, the rows of the plan are split into forward passes. The gradient of the summed loss is added up over the
items of the global batch, checked, clipped, and used for an update. Random choices are a function of (seed, step),
so a resumed run needs no state of a sampler or generator. Validation chooses the best step. Checkpoints keep the
best and the newest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import InterruptedRunError, NonFiniteError
from tunesmith.events import Evaluation, Events, Started, Step
from tunesmith.models.device import device_of, without_plans
from tunesmith.models.freezing import keep_frozen_parts_still
from tunesmith.tasks import best_metric
from tunesmith.training.averaging import WeightAverage, try_average
from tunesmith.training.callbacks import Callbacks
from tunesmith.training.checkpoints import Checkpoints, State
from tunesmith.training.guards import (
    note_spike,
    require_finite,
    require_finite_score,
    require_finite_weights,
    rows_in_words,
)
from tunesmith.training.job import Job
from tunesmith.training.loop_files import LoopFiles
from tunesmith.training.objective import Objective
from tunesmith.training.optimizer import clip_gradient, make_optimizer
from tunesmith.training.own_loss import OwnLoss
from tunesmith.training.own_optimizer import own_optimizer
from tunesmith.training.processes import Processes
from tunesmith.training.rates import Rates
from tunesmith.training.signals import StopRequest, StopSignal
from tunesmith.training.step_gradient import StepGradient

if TYPE_CHECKING:
    import torch


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
    with without_plans(device_of(job.model)):
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
        self.events, self.processes = events, processes
        self.should_stop = should_stop
        self.state = State()
        self._saved_step = self._evaluated_step = 0
        self._started, self._start_seconds, self._start_tokens = time.perf_counter(), 0.0, 0
        self._stop_is_saved = False
        self.signals = StopRequest(until_the_end=processes.world > 1)
        # What a callback has done cannot be done again, and the other processes would wait for a step to end.
        self._can_discard = processes.world == 1 and not job.hooks.callbacks
        self.optimizer = self._make_optimizer()
        self._metric = best_metric(job.task, job.label_schema)
        self.rates = Rates(
            self.optimizer, self.settings, job.plan.total_steps, job.hooks.scheduler, self._metric
        )
        self.trained = {name: p for name, p in job.model.named_parameters() if p.requires_grad}
        self.average = WeightAverage(
            self.trained,
            self.settings.average_last,
            job.plan.total_steps,
        )
        objects = {"model": job.model, "processing_class": job.tokenizer, "tokenizer": job.tokenizer}
        objects["optimizer"] = self.optimizer
        self.callbacks = Callbacks(job.hooks.callbacks, job.arguments, objects, events, processes)
        self.files = LoopFiles(
            job, checkpoints, events, processes,
            optimizer=self.optimizer, rates=self.rates, callbacks=self.callbacks, average=self.average,
        )  # fmt: skip

    def _make_optimizer(self) -> torch.optim.Optimizer:
        job, settings = self.job, self.settings
        if job.hooks.optimizer is not None:
            return own_optimizer(job.hooks.optimizer, job.model, settings, job.head, job.head_scale)
        return make_optimizer(
            job.model,
            weight_decay=settings.weight_decay,
            layer_lr_decay=settings.layer_lr_decay,
            head=job.head,
            head_scale=job.head_scale,
        )

    def run(self) -> State:
        """Trains to the end."""
        self._resume()
        self._keep_a_way_back()
        self.events.emit(Started(self.state.step, self.job.plan.total_steps))
        self._prepare()
        self._started, self._start_seconds, self._start_tokens = (
            time.perf_counter(), self.state.seconds, self.state.tokens,
        )  # fmt: skip
        with self.signals as signals:
            self.rates.set(self.state.step)
            self.callbacks.begin(self.state, self.rates, self._epoch(), self.job.plan.total_steps)
            self._enter_training_mode()
            self._first_step = self.state.step
            self._evaluate_what_a_signal_cut_off()
            while not self._is_done():
                self._step_safely()
                self._stop_if_asked(signals.signal_name)
            self._try_average()
            self._stop_if_asked(signals.signal_name)
        if self.processes.is_first:
            self.files.load_best(self.state)
        self.callbacks.call("on_train_end")
        return self.state

    def _step_safely(self) -> None:
        """A step, and what is due after it; what a signal cuts off of this is done after resuming."""
        try:
            self._step()
            self._evaluate_and_save()
        except NonFiniteError as error:
            self._go_back(error)
        except StopSignal:
            self.optimizer.zero_grad()

    def _evaluate_what_a_signal_cut_off(self) -> None:
        """The evaluation that was due after the step from which the loop resumes."""
        state = self.state
        is_scored = any(entry["step"] == state.step for entry in state.history)
        if state.step and not is_scored and self._can_discard and self._is_due(self.settings.eval_steps):
            try:
                self._evaluate()
            except StopSignal:
                return
            self._save(again=True)

    def _evaluate_and_save(self) -> None:
        """What is due or asked for after a step; a step with which callbacks end the training has both."""
        if self._is_due(self.settings.eval_steps) or self.callbacks.ask_to_evaluate:
            self._evaluate()
        is_best = self.state.best_step == self.state.step
        if is_best or self._is_due(self.settings.save_steps) or self.callbacks.ask_to_save:
            self._save()
        if self.callbacks.ask_to_stop:  # perhaps only since the evaluation or the checkpoint
            self._evaluate()
            self._save(again=not self._stop_is_saved)

    def _prepare(self) -> None:
        """Gives model and optimizer to accelerate; several processes begin from the weights of the first."""
        model, accelerator = self.job.model, self.processes.accelerator
        if self.processes.world == 1:
            self.model, self.optimizer = accelerator.prepare(model, self.optimizer)
        else:
            self.processes.copy_from_first_([*model.parameters(), *model.buffers()])
            self.model = model
        own = self.job.hooks.loss
        loss = OwnLoss(own, self.events.warn, self.job.task.compares_rows) if own is not None else None
        objective = Objective(self.job.task, self.model, model, self.settings, loss)
        self._gradient = StepGradient(self.job, objective, self.processes, self._between_passes)

    def _between_passes(self) -> None:
        if self._can_discard:
            with self.signals.raising():  # the gradient so far is lost, and no more
                pass
        self.callbacks.call("on_substep_end")

    def _enter_training_mode(self) -> None:
        self.model.train()
        keep_frozen_parts_still(self.job.model)

    def _is_done(self) -> bool:
        patience = self.settings.early_stopping_patience
        stopped_early = patience is not None and self.state.evals_without_improvement >= patience
        stopped_early = stopped_early or self.callbacks.ask_to_stop
        return stopped_early or self.state.step >= self.job.plan.total_steps

    def _is_due(self, every: int) -> bool:
        """Every so many steps and at the end; the last time before the end is skipped if close to it."""
        left = self.job.plan.total_steps - self.state.step
        return not left or (self.state.step % every == 0 and left > every // 4)

    def _step(self) -> None:
        step, callbacks = self.state.step, self.callbacks
        is_first = step == self._first_step
        if step in self.state.skipped:
            self._pass_over()
            return
        batch = self.job.plan.batch(step)
        rate = self.rates.set(step)
        if is_first or self._begins_epoch(step):
            callbacks.call("on_epoch_begin")
        callbacks.step_begins()
        if callbacks:
            rate = self.rates.current
        loss = self._gradient.add(batch, step, [*self.trained.values()])
        norm = self._clip(loss, batch, rate)
        callbacks.call("on_pre_optimizer_step")
        self.optimizer.step()
        callbacks.call("on_optimizer_step")
        if is_first:
            self.files.optimizer_tensors(self.state)  # what a checkpoint cannot hold is an error now
        self.optimizer.zero_grad()
        self.rates.step_done()
        self._count(batch)
        self.average.add(self.state.step)
        callbacks.update(self.state, self._epoch())
        callbacks.call("on_step_end")
        if callbacks.ask_to_stop or self._begins_epoch(self.state.step):
            callbacks.call("on_epoch_end")
        if usual := note_spike(self.state, loss):
            self.events.note(f"step {self.state.step}: the loss rose to {loss:.3f} from about {usual:.3f}")
        self._report(loss, norm, rate)

    def _keep_a_way_back(self) -> None:
        """Saves the first weights where the recipe lets the loop go back to them."""
        if self.settings.max_skipped_batches and not self.state.step:
            self._save(again=True)

    def _go_back(self, error: NonFiniteError) -> None:
        """Goes back to the last checkpoint, and leaves out the batch after which a number was not finite.

        Raises:
            NonFiniteError: the recipe does not allow another time.
        """
        # Weights that are not finite have become so in the step before.
        step = self.state.step - error.is_after_update
        skipped = sorted({*self.state.skipped, step})
        if step < 0 or len(skipped) > self.settings.max_skipped_batches or skipped == self.state.skipped:
            raise error
        rows = rows_in_words(self.job.plan.batch(step), self._location)
        self.optimizer.zero_grad()
        self._resume()
        self.state.skipped = skipped
        self._evaluated_step = 0
        self.events.emit(Started(self.state.step, self.job.plan.total_steps))
        self.events.warn(
            f"{error.rule} Back to step {self.state.step}; the batch of step {step + 1} is left out: {rows}"
        )

    def _pass_over(self) -> None:
        """A step whose batch is left out: nothing is updated."""
        self.rates.set(self.state.step)
        self.rates.step_done()
        self.state.step += 1

    def _clip(self, loss: float, batch: NDArray[np.int64], rate: float) -> float:
        """The norm of the gradient, which is scaled down where it is too large; it and the loss are finite."""
        in_update = self.job.hooks.optimizer is None and not self.callbacks.read_gradients
        parameters, most = [*self.trained.values()], self.settings.max_grad_norm
        norm = clip_gradient(self.optimizer, parameters, most, in_update=in_update)
        require_finite(
            {"loss": loss, "gradient norm": norm},
            step=self.state.step + 1,
            rows=batch,
            location=self._location,
            model=self.job.model,
            learning_rate=rate,
        )
        return norm

    def _location(self, sequence: int) -> str:
        return self.job.location(int(self.job.train.rows[sequence]))

    def _epoch(self) -> float:
        return self.job.plan.epochs_done(self.state.step)

    def _begins_epoch(self, step: int) -> bool:
        """Whether an epoch begins with a step, from 0; the last one ends with the last step."""
        plan = self.job.plan
        return not 0 < step < plan.total_steps or plan.epoch_of(step) != plan.epoch_of(step - 1)

    def _count(self, batch: NDArray[np.int64]) -> None:
        self.state.step += 1
        self.state.examples += len(batch)
        self.state.tokens += int(self.job.train.lengths[batch].sum())
        self.state.seconds = self._start_seconds + time.perf_counter() - self._started

    def _report(self, loss: float, norm: float, rate: float) -> None:
        state, plan = self.state, self.job.plan
        here = state.seconds - self._start_seconds
        is_logged = state.step % self.settings.logging_steps == 0 or state.step in (1, plan.total_steps)
        is_logged = is_logged or self.callbacks.ask_to_log
        self.events.emit(
            Step(
                state.step,
                plan.total_steps,
                epoch=self._epoch(),
                loss=loss,
                grad_norm=norm,
                learning_rate=rate,
                tokens_per_s=(state.tokens - self._start_tokens) / max(here, 1e-9),
                seconds_left=(plan.total_steps - state.step) * state.seconds / state.step,
                is_logged=is_logged,
            )
        )
        if is_logged:
            self.callbacks.log({"loss": loss, "grad_norm": norm, "learning_rate": rate})

    def _evaluate(self) -> None:
        """Scores the validation rows and remembers the best step; once for each step."""
        state = self.state
        if self._evaluated_step == state.step:
            return
        require_finite_weights(self.trained, step=state.step)
        with self.signals.raising() if self._can_discard else nullcontext():
            scores = self._scores()
        self._evaluated_step = state.step
        name, greater_is_better = self._metric
        require_finite_score(name, scores[name], step=state.step)
        state.seconds = self._start_seconds + time.perf_counter() - self._started
        value = scores[name]
        sign = 1 if greater_is_better else -1
        gain = sign * (value - state.best_value) if state.best_step >= 0 else 1.0
        state.evals_without_improvement = 0 if gain > 0 else state.evals_without_improvement + 1
        if gain >= 0:  # the later of equal steps, since its learning rate was lower
            state.best_step, state.best_value = state.step, value
        state.history.append({"step": state.step, **scores})
        self.events.emit(Evaluation(state.step, scores, name, state.best_step == state.step))
        self.rates.evaluated(value)
        self.callbacks.evaluated(scores)
        self.callbacks.found_best(state)
        self._enter_training_mode()

    def _scores(self) -> dict[str, float]:
        return self.processes.share(self.job.evaluate())

    def _try_average(self) -> None:
        """After the last step: the average of the last weights, if it is better than the best step."""
        state = self.state
        is_last = self.average.count and state.step == self.job.plan.total_steps
        if is_last and try_average(self.average, state, self._scores, self._metric, self.events):
            self._save()

    def _save(self, *, again: bool = False) -> None:
        if self._saved_step == self.state.step and not again:
            return
        self._saved_step, self._stop_is_saved = self.state.step, self.callbacks.ask_to_stop
        self.state.seconds = self._start_seconds + time.perf_counter() - self._started
        self.files.save(self.state)
        if not again:
            best = self.state.best_step
            self.callbacks.saved(str(self.files.checkpoints.at(best).path) if best >= 0 else "")

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
        if (state := self.files.resume()) is not None:
            self.state, self._saved_step = state, state.step
