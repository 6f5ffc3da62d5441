"""Every stage of a training, in order; each reads what the one before made.

    begin (data, model) → encode → probe → fit → save → evaluate → report

A run that was stopped goes through the same stages again: encodings come from the cache, the probe and the
loop from what they saved, and the result is bit for bit that of a run that was never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.encoding import cache_folder, encode_splits
from tunesmith.data.examples import fingerprint, refuse_faults, set_faults_aside
from tunesmith.data.preparing import Prepared, all_sources, find_splits, prepare, read_checked
from tunesmith.environment import describe_environment
from tunesmith.errors import RecipeError
from tunesmith.evaluation.result import build_metrics, final_split, score_baselines, write_predictions
from tunesmith.evaluation.scoring import Scored
from tunesmith.inference.forward import forward_logits
from tunesmith.inference.predictor import Predictor
from tunesmith.models import heads
from tunesmith.models.freezing import freeze_body, freeze_bottom
from tunesmith.models.loading import LoadedModel, load_for_training, load_trained
from tunesmith.models.resolve import resolve_model
from tunesmith.models.saving import save_model
from tunesmith.progress import Progress, Silent
from tunesmith.recipe import Recipe
from tunesmith.reports import write_card, write_report
from tunesmith.run import Run, write_atomically, write_json
from tunesmith.tasks import TASKS, Task
from tunesmith.training.checkpoints import Checkpoints, State
from tunesmith.training.events import EventLog
from tunesmith.training.loop import Job, Labelled, Loop, Settings, make_accelerator
from tunesmith.training.plan import Plan
from tunesmith.training.probe import ProbeHead, fit_probe, put_head, take_features
from tunesmith.training.resolving import choose_max_length, resolve_training

METHODS = ("probe", "full")
_SHORT_TEXT_TOKENS = 128


@dataclass
class Session:
    """One training on its way through the stages."""

    run: Run
    recipe: Recipe
    task: Task
    progress: Progress
    data: Prepared
    loaded: LoadedModel
    splits: dict[str, Labelled] = field(default_factory=dict)
    max_length: int = 0
    stages_s: dict[str, float] = field(default_factory=dict)

    @property
    def model(self) -> Any:
        """The model in training."""
        return self.loaded.model

    @property
    def pad_token_id(self) -> int:
        """Of the tokenizer."""
        return int(self.loaded.tokenizer.pad_token_id)

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """Tells and times a stage."""
        self.progress.stage(title)
        began = time.perf_counter()
        yield
        self.stages_s[name] = round(time.perf_counter() - began, 3)
        self.run.update_manifest(stages_s=self.stages_s)

    def advance(self, unit: str) -> Any:
        """A callback for work of known size."""
        return lambda done, total: self.progress.advance(done, total, unit)


def train(recipe: Recipe, *, force: bool = False, progress: Progress | None = None) -> Run:
    """Runs a recipe from its data to its report, or goes on with its run.

    Args:
        recipe: what to do.
        force: clear another run that is in `output_dir`.
        progress: told of what is done.

    Raises:
        UserError: the recipe, the data or the model must be mended first.
        NonFiniteError: the training diverged.
        InterruptedRunError: a signal came; the same call goes on.
    """
    progress = progress or Silent()
    task = TASKS.get(recipe.task)
    if recipe.train.method not in METHODS:
        raise RecipeError(
            f"train.method must be one of {', '.join(METHODS)}, got {recipe.train.method}.",
            remedy="`docs/training.md` says what each does.",
        )
    run, requested = Run(recipe.output_dir), recipe
    recipe = recipe.replace(data=find_splits(recipe.data).model_dump(mode="json"))
    data_fingerprint = fingerprint(all_sources(recipe.data))
    with run.locked():
        goes_on = run.begin(requested, fingerprint=data_fingerprint, force=force)
        if goes_on and run.is_finished:
            progress.note(f"{run.path} is finished; nothing to do")
            return run
        session = _begin(run, recipe, task, progress)
        _record(session, requested, data_fingerprint, goes_on=goes_on)
        _train(session)
    return run


def _begin(run: Run, recipe: Recipe, task: Task, progress: Progress) -> Session:
    """Reads the data and loads the model; nothing is written before both are right."""
    progress.stage("Reading the data")
    data = prepare(task, recipe)
    progress.note("columns: " + ", ".join(f"{ours} = `{theirs}`" for ours, theirs in data.chosen.items()))
    progress.note("rows: " + ", ".join(f"{len(rows):,} {name}" for name, rows in data.splits.items()))
    for notice in data.notices:
        progress.warn(notice)
    progress.stage(f"Loading {recipe.model}")
    files = resolve_model(recipe.model)
    loaded = load_for_training(files, task, data.targets, pooling=recipe.train.pooling, seed=recipe.seed)
    progress.note(f"{files.origin}; {loaded.model.num_parameters():,} parameters")
    if heads.has_pooling_layer(loaded.model):
        heads.use_fast_pooling(loaded.model)
    return Session(run, recipe, task, progress, data, loaded)


def _record(session: Session, requested: Recipe, data_fingerprint: str, *, goes_on: bool) -> None:
    """Writes what the run is made from; on going on, what depended on the machine stays as it was."""
    run, data = session.run, session.data
    before = run.manifest() if goes_on else {}
    if "used" in before:
        session.recipe = Recipe.model_validate({**before["used"], "output_dir": str(run.path)})
    run.update_manifest(
        requested=before.get("requested") or requested.model_dump(mode="json"),
        data={
            "fingerprint": data_fingerprint,
            "columns": data.chosen,
            "rows": {name: len(examples) for name, examples in data.splits.items()},
            "set_aside": len(data.faults),
            "notices": data.notices,
        },
        targets=data.targets,
        model={"name": requested.model, "parameters": session.model.num_parameters()},
        seed=requested.seed,
        **describe_environment(),
    )
    write_json(run.data / "splits.json", data.row_ids())
    if data.faults:
        set_faults_aside(data.faults, run.data / "bad_rows.jsonl")


def _train(session: Session) -> None:
    """Every stage after the data and the model are there."""
    with session.stage("encode", "Encoding"):
        _encode(session)
    accelerator = make_accelerator()
    session.recipe, plan, settings = resolve_training(
        session.recipe,
        session.splits["train"].encoded.lengths,
        session.model,
        max_length=session.max_length,
        device=accelerator.device.type,
        world=accelerator.num_processes,
    )
    write_atomically(session.run.recipe_file, session.recipe.to_yaml())
    session.run.update_manifest(used=session.recipe.model_dump(mode="json"))
    heads.keep_head_precise(heads.find_head(session.model, session.model.config.num_labels))
    session.model.to(accelerator.device)
    with session.stage("probe", "Probing the frozen model"):
        probe_logits = _probe(session, settings)
    with session.stage("train", f"Training: {session.recipe.train.method}"):
        state = _fit(session, plan, settings, accelerator)
    with session.stage("save", "Saving"):
        tokenizer = session.loaded.tokenizer
        save_model(session.model.cpu(), tokenizer, session.run.model, max_length=session.max_length)
    with session.stage("evaluate", "Evaluating the saved model"):
        metrics = _evaluate(session, probe_logits, accelerator.device)
    metrics["train"] = {
        "seconds": round(state.seconds, 3),
        "steps": state.step,
        "examples": state.examples,
        "tokens": state.tokens,
        "best_step": state.best_step,
        "history": state.history,
    }
    write_json(session.run.metrics_file, metrics)
    with session.stage("report", "Writing the report"):
        write_card(session.run)
        write_report(session.run)
    session.run.update_manifest(finished=True)


def _encode(session: Session) -> None:
    """Encodes every split and tells what is cut."""
    task, tokenizer = session.task, session.loaded.tokenizer
    encoded = encode_splits(
        task,
        session.data.splits,
        tokenizer,
        choose_max_length=lambda longest: choose_max_length(
            session.recipe.data.max_length, session.model, tokenizer, longest
        ),
        cache=cache_folder(),
    )
    for name, cut in encoded.truncation.items():
        (session.progress.warn if cut.rows_cut else session.progress.note)(f"{name}: {cut}")
    write_json(
        session.run.data / "truncation.json", {n: asdict(cut) for n, cut in encoded.truncation.items()}
    )
    session.splits = {
        name: Labelled(encoded.splits[name], task.label_array(examples.columns, session.data.targets))
        for name, examples in session.data.splits.items()
    }
    session.max_length = encoded.max_length
    session.model.set_attn_implementation("eager" if encoded.longest <= _SHORT_TEXT_TOKENS else "sdpa")


def _probe(session: Session, settings: Settings) -> NDArray[np.float32] | None:
    """Fits a head on frozen features and starts the model from it; a head made for these labels stays.

    Returns:
        The probe's logits on the rows that count, for its place among the baselines.
    """
    recipe, task = session.recipe, session.task
    is_start = recipe.train.head_start or recipe.train.method == "probe"
    if task.probe is None or not session.loaded.head_is_new or not (is_start or recipe.evaluate.baselines):
        session.progress.note("no probe")
        return None
    file = session.run.checkpoints / "probe.safetensors"
    probe = ProbeHead.load(file)
    if probe is None:
        train, validation = (_features(session, name, settings) for name in ("train", "validation"))
        labels = {name: split.labels for name, split in session.splits.items()}
        probe = fit_probe(
            task, session.data.targets, (train, labels["train"]), (validation, labels["validation"])
        )
        probe.save(file)
    session.progress.note(f"probe: regularisation C = {probe.strength:g}")
    final = (
        _features(session, final_split(session.splits), settings) if recipe.train.method != "probe" else None
    )
    if is_start:
        put_head(session.model, probe)
    return None if final is None else probe.logits(final)


def _features(session: Session, split: str, settings: Settings) -> NDArray[np.float32]:
    return take_features(
        session.model,
        session.splits[split].encoded,
        head=heads.find_head(session.model, session.model.config.num_labels),
        pad_token_id=session.pad_token_id,
        bf16=settings.bf16,
        place=session.data.splits[split].place,
        advance=session.advance(f"{split} texts"),
    )


def _fit(session: Session, plan: Plan, settings: Settings, accelerator: Any) -> State:
    """The loop; with `method: probe` the model already is what it will be."""
    rows = session.splits["train"].encoded
    if session.recipe.train.method == "probe":
        freeze_body(session.model)
        return State(seconds=session.stages_s["probe"], tokens=int(rows.lengths.sum()), examples=len(rows))
    freeze_bottom(session.model, session.recipe.train.freeze_layers)
    checkpoints = Checkpoints(session.run.checkpoints)
    job = Job(
        model=session.model,
        task=session.task,
        targets=session.data.targets,
        train=session.splits["train"],
        validation=session.splits["validation"],
        plan=plan,
        settings=settings,
        pad_token_id=session.pad_token_id,
        place=session.data.splits["train"].place,
    )
    return Loop(job, checkpoints, EventLog(session.run.events_file), session.progress, accelerator).run()


def _evaluate(session: Session, probe_logits: NDArray[np.float32] | None, device: Any) -> dict[str, Any]:
    """Scores the model as it was saved, in full precision, and the baselines on the same rows."""
    how, task, targets = session.recipe.evaluate, session.task, session.data.targets
    saved = load_trained(resolve_model(str(session.run.model)), task, device=device)
    name = final_split(session.splits)
    split = session.splits[name]
    logits = forward_logits(
        saved.model,
        split.encoded,
        pad_token_id=session.pad_token_id,
        advance=session.advance(f"{name} texts"),
    )
    final = Scored(task, targets, session.data.splits[name], logits, split.labels)
    write_predictions(session.run, name, final)
    metrics = build_metrics({name: final}, how, session.recipe.seed)
    is_probe = session.recipe.train.method == "probe"
    train = (session.data.splits["train"], session.splits["train"].labels)
    metrics["baselines"] = (
        score_baselines(task, targets, train, final, final.logits if is_probe else probe_logits)
        if how.baselines
        else {}
    )
    return metrics


def evaluate(
    path: str | Path,
    sources: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Scores of a finished run on other data.

    Args:
        path: the run folder.
        sources: files, folders or Hub names.
        columns: the file's column for each of the task's; those of the run when None.
        progress: told of what is done.

    Raises:
        UserError: the run, a file, a column or a row cannot be used.
    """
    progress = progress or Silent()
    run = Run.open(path)
    recipe = run.recipe()
    how, predictor = recipe.evaluate, Predictor.from_run(path)
    task, targets = predictor.task, predictor.targets
    progress.stage("Reading the data")
    extra = [*how.slices, *how.groups]
    reading = read_checked(task, sources, columns or recipe.data.columns, targets, extra=extra)
    refuse_faults(reading.faults, len(reading.examples), remedy="Mend them, or take them out of the file.")
    progress.note(f"{len(reading.examples):,} rows")
    progress.stage("Evaluating")
    logits = predictor.logits(
        reading.examples, advance=lambda done, total: progress.advance(done, total, "texts")
    )
    labels = task.label_array(reading.examples.columns, targets)
    scored = Scored(task, targets, reading.examples, logits, labels)
    splits: dict[str, Scored] = {"test": scored}
    return build_metrics(splits, how, recipe.seed)
