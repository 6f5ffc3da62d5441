"""Phase 7: the training loop; with `train.method: probe` the model already is what it will be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunesmith.encoded import Encoded
from tunesmith.models.freezing import freeze_body
from tunesmith.pipeline.contrast import fit_contrastive
from tunesmith.pipeline.memory import explained_if_too_small, in_loop, remember_smaller_passes
from tunesmith.pipeline.predict_split import predict_split, reading
from tunesmith.pipeline.probe import Probe
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.tasks import best_metric, head_scale
from tunesmith.training.averaging import AVERAGED
from tunesmith.training.callback_arguments import CallbackArguments, callback_arguments
from tunesmith.training.checkpoints import Checkpoints, State
from tunesmith.training.contrastive import CONTRASTIVE, task_to_learn
from tunesmith.training.job import Job
from tunesmith.training.loop import run_loop
from tunesmith.training.micro_batches import token_ids
from tunesmith.training.probe import Features

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


AVERAGED_MODELS = "averaged_models"
"""Key of the entry of a soup in `State.history`: the number of models whose weights it has."""

Evaluate = Callable[[], dict[str, float]]
"""Gives the scores of the validation rows."""


@dataclass(frozen=True)
class FittedModel:
    """A model with the weights of its best step.

    Args:
        state: steps, seconds and validation scores of the loop.
        features: what the head sees, by split, where nothing but the head learned.
    """

    state: State
    features: Mapping[str, Features] = field(default_factory=dict)

    def summary(self) -> JsonObject:
        """The entry of the training in metrics.json."""
        state = self.state
        return {
            "seconds": round(state.seconds, 3),
            "steps": state.step - sum(AVERAGED in it for it in state.history),
            "examples": state.examples,
            "tokens": state.tokens,
            "best_step": state.best_step,
            "history": state.history,
        }


def fit(work: Work, plan: TrainingPlan, probe: Probe) -> FittedModel:
    """Trains the model of the plan.

    Raises:
        NonFiniteError: the training diverged.
        InterruptedRunError: a signal or `should_stop` stopped it.
        RecipeError: the memory ran out.
    """
    if plan.recipe.train.method == "probe":
        train = plan.splits["train"]
        freeze_body(plan.model)
        tokens = int(train.lengths.sum())
        return FittedModel(State(seconds=probe.seconds, tokens=tokens, examples=len(train)), probe.features)
    if (
        plan.frozen_cache is not None
    ):  # else the first evaluation would find the model without its frozen layers
        advance = work.events.progress("validation texts")
        plan.frozen_cache.open("validation", plan.splits["validation"], advance)
    with explained_if_too_small(plan), in_loop(work):
        if plan.recipe.train.method == CONTRASTIVE:
            return FittedModel(fit_contrastive(work, plan, _loop))
        return FittedModel(_loop(work, plan, _validate(work, plan)))


def _validate(work: Work, plan: TrainingPlan) -> Evaluate:
    """Gives the scores of the validation rows by the model in training."""

    def scores() -> dict[str, float]:
        answered = predict_split(work, plan, "validation", with_texts=False)
        return work.task.validation_scores(answered, plan.data.label_schema)

    return scores


def _loop(work: Work, plan: TrainingPlan, evaluate: Evaluate) -> State:
    with reading(work, plan, "train") as train:
        return _loop_over(work, plan, train, evaluate)


def _loop_over(work: Work, plan: TrainingPlan, train: Encoded, evaluate: Evaluate) -> State:
    from tunesmith.acceleration.embedding_rows import training_rows
    from tunesmith.acceleration.packed_linear import release_packed

    task, label_schema = task_to_learn(work.task, plan.recipe.train.method), plan.data.label_schema
    release_packed(plan.model)  # what the probe and the first scores have left
    job = Job(
        model=plan.model,
        task=task,
        train=train,
        evaluate=evaluate,
        plan=plan.batches,
        settings=plan.settings,
        tokenizer=plan.tokenizer,
        location=plan.encoded.location("train"),
        label_schema=label_schema,
        head=plan.opened.head(task),
        head_scale=head_scale(task, label_schema)[1],
        hooks=work.hooks,
        arguments=_arguments(work, plan),
        passes_became_smaller=lambda before, now: remember_smaller_passes(work, plan, before, now),
    )
    # A program's own batches may hold tokens that are in no row.
    knows_ids = plan.recipe.train.acceleration and work.hooks.collate is None
    ids = token_ids(task, train, plan.tokenizer.pad_token_id) if knows_ids else None
    with training_rows(plan.model, ids):
        checkpoints = Checkpoints.of(work.run)
        checkpoints.logged = _last_saved(work)
        return run_loop(job, checkpoints, work.events, work.processes, work.should_stop)


def _last_saved(work: Work) -> int:
    """The last step that was saved in an earlier start, by the log."""
    known = work.run.events() if work.resumes else []
    return max((line["step"] for line in known if line["kind"] == "checkpoint"), default=0)


def _arguments(work: Work, plan: TrainingPlan) -> CallbackArguments:
    """What callbacks read as `args`."""
    if not work.hooks.callbacks:
        return CallbackArguments({})
    return callback_arguments(
        plan.recipe,
        best_metric(work.task, plan.data.label_schema),
        work.processes,
        max_steps=plan.batches.total_steps,
        own_optimizer=work.hooks.optimizer is not None,
    )
