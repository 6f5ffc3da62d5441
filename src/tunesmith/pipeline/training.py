"""`train`: every phase of a training, in order.

A run that was stopped goes through the same phases again: encodings come from the cache; reference, probe and loop
resume from what they saved; the result is bit for bit that of a run that was never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from tunesmith.checks import Finding
from tunesmith.data.preparing import data_fingerprint_of, find_splits
from tunesmith.errors import InterruptedRunError, RunError
from tunesmith.evaluation.result import refuse_undeclared
from tunesmith.events import Events, Failed, Finished, Listener
from tunesmith.hooks import NO_HOOKS, Hooks
from tunesmith.models.loading import refuse_other_kinds
from tunesmith.models.resolve import ModelFiles, resolve_model
from tunesmith.models.task_of_model import task_of_model
from tunesmith.pipeline.base_model import allow_targets, score_base_model, with_reference_of_base
from tunesmith.pipeline.calibrating import refuse_uncalibratable
from tunesmith.pipeline.checking import check_features, check_texts
from tunesmith.pipeline.encode import encode
from tunesmith.pipeline.event_log import EventLog
from tunesmith.pipeline.fit import FittedModel, fit
from tunesmith.pipeline.folds import score_folds, train_folds
from tunesmith.pipeline.hooked import comment_of, refuse_hooks_without_effect, refuse_other_hooks
from tunesmith.pipeline.open_model import OpenedModel, open_model
from tunesmith.pipeline.options import refuse_options_without_effect
from tunesmith.pipeline.plan import make_plan
from tunesmith.pipeline.prepare import prepare_data
from tunesmith.pipeline.probe import FeaturesOf, start_from_probe, with_features
from tunesmith.pipeline.record import record, refuse_own_files
from tunesmith.pipeline.save import save
from tunesmith.pipeline.score import score_saved
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.pipeline.writing import refuse_files_of_evaluate
from tunesmith.recipe import Recipe
from tunesmith.reports import choose_next_steps, estimate_energy, write_card, write_report
from tunesmith.run import Run, read_json, write_json
from tunesmith.tasks import TASKS
from tunesmith.trackers import refuse_unusable
from tunesmith.trackers._tracking import Tracking
from tunesmith.training.checkpoints import Checkpoints
from tunesmith.training.heartbeat import Heartbeat, stall_limit
from tunesmith.training.loop import never
from tunesmith.training.processes import Processes, refuse_other_launchers
from tunesmith.training.signals import StopRequest, stopped_by

AfterFit = Callable[[Work, TrainingPlan, FittedModel], FittedModel]


def as_fitted(work: Work, plan: TrainingPlan, fitted: FittedModel) -> FittedModel:
    """The model as the loop has left it."""
    return fitted


def train(
    recipe: Recipe,
    *,
    force: bool = False,
    listeners: Iterable[Listener] = (),
    should_stop: Callable[[], bool] = never,
    hooks: Hooks = NO_HOOKS,
    after_fit: AfterFit = as_fitted,
) -> Run:
    """Runs a recipe from its data to its report, or resumes its run.

    Args:
        recipe: what to do.
        force: replace another run that is in `output_dir`.
        listeners: called with every event (`tunesmith.events`).
        should_stop: asked after every step, from the thread that trains; when it is true, everything is saved and
            the training ends with InterruptedRunError.
        hooks: what a program puts in place of parts of the training.
        after_fit: what is done with the model between its training and its saving.

    Raises:
        UserError: the recipe, the data or the model must be corrected first.
        NonFiniteError: the training diverged.
        InterruptedRunError: a signal or `should_stop` stopped the training; the same call resumes it.
    """
    refuse_other_launchers()
    processes, run, log, listeners = Processes(), Run(recipe.output_dir), EventLog(), tuple(listeners)
    if recipe.train.folds and (force or not run.is_finished):
        how: Any = {"force": force, "should_stop": should_stop, "hooks": hooks}
        train_folds(recipe, listeners, lambda fold, shown: train(fold, listeners=shown, **how))
    tracking = Tracking(recipe.train.report_to, run, lambda text: events.warn(text))
    signals, heartbeat = StopRequest(at_once=True), Heartbeat(stall_limit(), rank=processes.rank)
    shown = (*listeners, log, tracking) if processes.is_first else ()
    events = Events((*shown, signals.check, heartbeat))
    with _held(run, processes):
        with _failures_reported(events), stopped_by(signals):
            work, data_fingerprint = _begin(run, recipe, events, processes, force, should_stop, hooks)
            if work.resumes and run.is_finished:
                _report_damage(run, events)
                events.note(f"{run.path} is finished; nothing to do")
                return run
            began, files = time.perf_counter(), resolve_model(work.recipe.model, events.note)
            work = replace(work, task=task_of_model(work.task, files.path))
            opened, findings = _open(work, files)
            prepare_s = time.perf_counter() - began
        is_new = processes.is_first and not work.resumes
        replacing = run.replacing() if is_new else nullcontext(lambda: None)
        watching = heartbeat.watching(run.path)
        with replacing as begun, _failures_reported(events), stopped_by(signals), watching:
            work = record(work, opened, data_fingerprint, prepare_s=prepare_s)
            if said := comment_of(work.hooks):
                events.note(said)
            if processes.is_first:
                _open_log(log, work)
            _learn(work, opened, findings, begun, after_fit)
    return run


def _report_damage(run: Run, events: Events) -> None:
    """Reports files of a finished run that people may edit; raises RunError for those that answers come from."""
    run.refuse_damaged()
    for problem in run.problems(decisive=False):
        events.warn(f"{problem}; `--force` trains the run again")


def _open_log(log: EventLog, work: Work) -> None:
    """Begins to write the log; what is missing in that of an earlier start is reported."""
    run, every = work.run, work.recipe.train.logging_steps
    newest = max(Checkpoints.of(run).steps(), default=0)
    logged = max(newest // every * every, min(newest, 1))  # the first step is logged, and every so many
    run_id = str(run.manifest()["run_id"])
    if problem := log.open(run.events_file, resumes=work.resumes, run_id=run_id, saved=logged):
        work.events.warn(problem)


@contextmanager
def _held(run: Run, processes: Processes) -> Iterator[None]:
    """The run folder, which the first process holds for all until every one is done."""
    with ExitStack() as stack:
        processes.first(lambda: stack.enter_context(run.locked()))
        yield
        processes.wait()


@contextmanager
def _failures_reported(events: Events) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        events.emit(Failed(str(error) or type(error).__name__, isinstance(error, InterruptedRunError)))
        raise


def _begin(
    run: Run,
    requested: Recipe,
    events: Events,
    processes: Processes,
    force: bool,
    should_stop: Callable[[], bool],
    hooks: Hooks,
) -> tuple[Work, str]:
    """What is to be done, and the fingerprint of the data; nothing is written."""
    recipe = find_splits(requested)
    data_fingerprint = data_fingerprint_of(recipe.data)
    task = TASKS.get(recipe.task)

    def find_earlier() -> bool:
        if run.recover():
            events.warn(f"the run in {run.path} is there again: the one that should replace it had not begun")
        resumes = run.begin(requested, fingerprint=data_fingerprint, force=force)
        if resumes:
            refuse_other_hooks(run, hooks)
        if resumes and not run.is_finished:
            _refuse_other_world(run, processes)
        return resumes

    resumes = bool(processes.share(processes.first(find_earlier)))
    work = Work(run, task, requested, recipe, events, resumes, processes, should_stop, hooks)
    return work, data_fingerprint


def _refuse_other_world(run: Run, processes: Processes) -> None:
    """Raises RunError when the run began with another number of processes: its batches would be others."""
    began_with = run.manifest().get("processes", 1)
    if began_with != processes.world:
        raise RunError(
            f"the run in `{run.path}` began with {began_with} processes, and this is {processes.world}.",
            remedy=f"Start {began_with}, or give `--force` to replace the run.",
        )


def _open(work: Work, files: ModelFiles) -> tuple[OpenedModel, list[Finding]]:
    """The data and the model, and what is wrong with the texts; nothing is written before all are right."""
    refuse_undeclared(work.task)
    refuse_unusable(work.recipe.train.report_to)
    refuse_files_of_evaluate(work)
    if not work.resumes:  # what an earlier version has begun, this one finishes
        refuse_options_without_effect(work.task, work.recipe)
    refuse_hooks_without_effect(work.task, work.recipe, work.hooks)
    refuse_other_kinds(files, work.task)
    data = prepare_data(work)
    findings = work.processes.first(lambda: check_texts(work, data)) or []
    opened = open_model(work, files, data)
    if not work.resumes:
        refuse_own_files(work)
        refuse_uncalibratable(work, opened)
    return opened, findings


def _learn(
    work: Work,
    opened: OpenedModel,
    findings: Sequence[Finding],
    begun: Callable[[], None],
    after_fit: AfterFit,
) -> None:
    """Every phase after the data and the model are there; `begun` is called before the loop begins."""
    with work.stage("encode", "Encoding"):
        encoded = encode(work, opened)
    plan = make_plan(work, opened, encoded)
    with work.stage("baselines", "Evaluating the base model"):
        plan = with_reference_of_base(work, plan)
        baselines = score_base_model(work, plan)
        allow_targets(work, plan)
    with work.stage("probe", "Probing the frozen model"):
        features = FeaturesOf.of_plan(work, plan)
        probe = start_from_probe(work, plan, features)
    with work.stage("check", "Checking the data"):
        work.processes.first(lambda: check_features(work, plan, features, findings))
        probe = with_features(probe, plan, features)
    with work.stage("train", f"Training: {plan.recipe.train.method}"):
        begun()
        fitted = after_fit(work, plan, fit(work, plan, probe))
    if not work.processes.is_first:
        return  # the first process saves and scores, and the others wait for it
    with work.stage("save", "Saving"):
        saved = save(work, plan, fitted)
    with work.stage("evaluate", "Evaluating the saved model"):
        metrics = score_saved(work, plan, saved, {**baselines, **probe.scores})
    metrics = {**metrics, "train": fitted.summary(), "energy": estimate_energy(work.run.manifest())}
    if plan.recipe.train.folds:
        metrics["folds"] = score_folds(work.run, plan.recipe)
    steps = choose_next_steps(work.run.manifest(), metrics, read_json(work.run.data / "supervision.json"))
    write_json(work.run.metrics_file, {**metrics, "next_steps": steps})
    with work.stage("report", "Writing the report"):
        write_card(work.run)
        write_report(work.run)
    work.run.finish()
    work.events.emit(Finished(str(work.run.path)))
