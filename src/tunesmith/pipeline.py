"""Every stage of a training, in order; each reads what the one before made.

    begin (data, model) → encode → reference → probe → fit → thresholds → save → evaluate → report

What a stage has to decide on its way is in `stages/`; here is what comes after what.

A run that was stopped goes through the same stages again: encodings come from the cache, reference, probe and
loop from what they saved, and the result is bit for bit that of a run that was never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.data.examples import fingerprint, list_realigned, refuse_invalid_rows, set_invalid_rows_aside
from tunesmith.data.grouping import group_columns, notice_of_groups
from tunesmith.data.preparing import all_sources, find_splits, read_checked, sources_of
from tunesmith.data.reading import source_files
from tunesmith.encoded import Encoded
from tunesmith.errors import RecipeError
from tunesmith.evaluation.result import build_metrics
from tunesmith.evaluation.scoring import Scored
from tunesmith.inference.forward import forward
from tunesmith.inference.predictor import Predictor
from tunesmith.locking import refuse_several_processes
from tunesmith.models import heads
from tunesmith.models.freezing import freeze_body, freeze_bottom, freeze_embeddings, freeze_named
from tunesmith.models.generation import allow_tokens, set_generation
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.models.saving import save_model
from tunesmith.progress import Progress, Silent
from tunesmith.recipe import Recipe
from tunesmith.reports import write_card, write_report
from tunesmith.run import Run, write_atomically, write_json
from tunesmith.session import Session, begin, describe
from tunesmith.stages.encoding import encode
from tunesmith.stages.memory import within_memory
from tunesmith.stages.prefix import share_frozen_layers
from tunesmith.stages.probe import start_from_probe
from tunesmith.stages.scores import score_saved
from tunesmith.tasks import TASKS, point_scores
from tunesmith.training.checkpoints import Checkpoints, State
from tunesmith.training.events import EventLog
from tunesmith.training.loop import Job, Loop, Settings, make_accelerator
from tunesmith.training.micro_batches import token_ids
from tunesmith.training.plan import Plan
from tunesmith.training.reference import load_reference, save_reference, with_reference
from tunesmith.training.resolving import balanced_weights, resolve_training


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
    refuse_several_processes()
    run, requested = Run(recipe.output_dir), recipe
    recipe = find_splits(recipe)
    data_fingerprint = fingerprint(all_sources(recipe.data))
    with run.locked():
        if run.recover():
            progress.warn(
                f"the run in {run.path} is there again: the one that should replace it had not begun"
            )
        resumes = run.begin(requested, fingerprint=data_fingerprint, force=force)
        if resumes and run.is_finished:
            progress.note(f"{run.path} is finished; nothing to do")
            return run
        session = begin(run, recipe, task, progress, run.manifest() if resumes else None)
        if not resumes:
            run.refuse_own_files([resolve_model(recipe.model).path, *_local_files(recipe)])
        with nullcontext(lambda: None) if resumes else run.replacing() as begun:
            _record(session, requested, data_fingerprint, resumes=resumes)
            _train(session, begun)
    return run


def _local_files(recipe: Recipe) -> list[Path]:
    return [path for source in all_sources(recipe.data) for path in source_files(source)]


def _record(session: Session, requested: Recipe, data_fingerprint: str, *, resumes: bool) -> None:
    """Writes what the run is made from; when it resumes, what depended on the machine stays as it was."""
    run, data = session.run, session.data
    before = run.manifest() if resumes else {}
    if "used" in before:
        used = Recipe.model_validate({**before["used"], "output_dir": str(run.path)})
        session.recipe = used.replace(data=sources_of(session.recipe.data))
    run.update_manifest(
        requested=before.get("requested") or requested.model_dump(mode="json"),
        **describe(session, requested, data_fingerprint, before),
    )
    write_atomically(run.data / "splits.json", data.row_ids_as_json())
    if data.invalid_rows:
        set_invalid_rows_aside(data.invalid_rows, run.data / "bad_rows.jsonl")
    if data.realigned:
        list_realigned(data.realigned, run.data / "realigned_answers.jsonl")


def _train(session: Session, begun: Callable[[], None]) -> None:
    """Every stage after the data and the model are there; `begun` is called before the loop begins."""
    with session.stage("encode", "Encoding"):
        encode(session)
    accelerator = make_accelerator()
    plan, settings = _resolve(session, accelerator)
    with session.stage("baselines", "Evaluating the base model"):
        _add_references(session, settings)
        baselines = _score_base_model(session)
        _allow_targets(session)
    with session.stage("probe", "Probing the frozen model"):
        baselines |= start_from_probe(session, settings)
    with session.stage("train", f"Training: {session.recipe.train.method}"):
        begun()
        state = _fit(session, plan, settings, accelerator)
    with session.stage("save", "Saving"):
        _save(session)
    with session.stage("evaluate", "Evaluating the saved model"):
        metrics = score_saved(session, baselines, accelerator.device)
    if session.prefix is not None:
        session.prefix.close()
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


def _resolve(session: Session, accelerator: Any) -> tuple[Plan, Settings]:
    """Fills in every `auto`, and puts the model where it will be trained."""
    train, model = session.splits["train"], session.model
    session.recipe, plan, settings = resolve_training(
        session.recipe,
        train.lengths,
        model,
        session.task,
        max_length=session.max_length,
        device=accelerator.device.type,
        world=accelerator.num_processes,
        class_weights=balanced_weights(session.recipe, train, session.task.config(session.label_schema)),
    )
    session.recipe = set_generation(model, session.tokenizer, session.task, session.recipe, train)
    freeze_bottom(model, session.recipe.train.freeze_layers)
    if session.recipe.train.freeze_embeddings:
        freeze_embeddings(model)
    freeze_named(model, session.recipe.train.freeze)
    model.to(accelerator.device)
    share_frozen_layers(session, plan, settings)
    settings = within_memory(session, plan, settings, accelerator)
    session.run.write_recipe(session.recipe)
    session.run.update_manifest(used=session.recipe.model_dump(mode="json"))
    if session.head is not None:
        heads.keep_head_precise(session.head)
    return plan, settings


def _add_references(session: Session, settings: Settings) -> None:
    """Where the loss compares with the model as it was: its likelihoods of every split."""
    if not session.task.needs_reference:
        return
    for name, encoded in session.splits.items():
        file = session.run.checkpoints / f"reference-{name}.safetensors"
        reference = load_reference(file)
        if reference is None:
            # In the arithmetic of the passes that it is compared with: looks and scores are in full precision.
            bf16 = settings.bf16 and name == "train"
            reference = np.asarray(session.see(name, with_texts=False, bf16=bf16).outputs)
            save_reference(file, reference)
        session.splits[name] = with_reference(encoded, reference)


def _score_base_model(session: Session) -> dict[str, dict[str, float]]:
    """The scores of the model before it is trained, where the task wants them beside the result."""
    if "base_model" not in session.task.baselines or not session.recipe.evaluate.baselines:
        return {}
    known = session.run.manifest().get("base_model")
    if known is None:
        known = point_scores(session.task, session.see(session.final), session.label_schema)
        session.run.update_manifest(base_model=known)
    return {"base_model": known}


def _allow_targets(session: Session) -> None:
    """Makes every token of the training targets possible; they are written from now on, if learned."""
    if not session.task.generates:
        return
    train = session.splits["train"].ragged
    labels = train["decoder_labels" if "decoder_labels" in train else "labels"].values
    banned = allow_tokens(session.model, labels[labels >= 0])
    if banned and session.adapter is not None:
        raise RecipeError(
            f"the model forbids {len(banned)} tokens of the targets, and an adapter cannot allow them.",
            remedy="Use `train.method=full`.",
        )
    if banned:
        named = " ".join(session.tokenizer.convert_ids_to_tokens(banned))
        session.progress.warn(f"the model forbids {len(banned)} tokens of the targets; now allowed: {named}")


def _fit(session: Session, plan: Plan, settings: Settings, accelerator: Any) -> State:
    """The loop; with `method: probe` the model already is what it will be."""
    if session.recipe.train.method == "probe":
        train = session.splits["train"]
        freeze_body(session.model)
        return State(seconds=session.stages_s["probe"], tokens=int(train.lengths.sum()), examples=len(train))
    if session.prefix is not None:  # else the first look would find the model without its frozen layers
        session.prefix.open("validation", session.splits["validation"], session.advance("validation texts"))
    with session.reading("train") as train:
        return _loop(session, train, plan, settings, accelerator)


def _loop(session: Session, train: Encoded, plan: Plan, settings: Settings, accelerator: Any) -> State:
    from tunesmith.acceleration.embedding_rows import training_rows
    from tunesmith.acceleration.packed_linear import release_packed

    release_packed(session.model)  # what the probe and the first scores have left
    places = session.data.splits["train"].location
    job = Job(
        model=session.model,
        task=session.task,
        train=train,
        evaluate=lambda: session.task.validation_scores(
            session.see("validation", with_texts=False), session.label_schema
        ),
        plan=plan,
        settings=settings,
        tokenizer=session.tokenizer,
        location=lambda row: places(row % len(session.data.splits["train"])),
        head=session.head,
        head_scale=session.task.head_scale(session.label_schema)[1],
    )
    checkpoints = Checkpoints(session.run.checkpoints)
    ids = token_ids(session.task, train, session.tokenizer.pad_token_id)
    ids = ids if session.recipe.train.acceleration else None
    with training_rows(session.model, ids):
        return Loop(job, checkpoints, EventLog(session.run.events_file), session.progress, accelerator).run()


def _save(session: Session) -> None:
    """Fits what is fitted on the validation rows, and writes the model."""
    task, model = session.task, session.model
    evaluated = session.see("validation", with_texts=False) if task.fits_thresholds else None
    fitted = (
        task.fit_thresholds(evaluated, session.label_schema)
        if evaluated is not None
        else session.label_schema
    )
    if fitted != session.label_schema:
        session.label_schema = fitted
        model.config.update(task.config(fitted))
        session.run.update_manifest(label_schema=fitted)
    save_model(
        model.cpu(),
        session.tokenizer,
        session.run.model,
        max_length=session.max_length,
        adapter=session.adapter,
    )


def evaluate(
    path: str | Path,
    sources: Sequence[str],
    *,
    columns: Mapping[str, Any] | None = None,
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
    task, label_schema = predictor.task, predictor.label_schema
    for note in predictor.notes:
        progress.note(note)
    progress.stage("Reading the data")
    extra = [*how.slices, *how.groups]
    group_by = recipe.data.group_by
    reading = read_checked(
        task,
        sources,
        columns or {},
        label_schema,
        extra=extra,
        optional=group_columns(group_by),
        align=recipe.data.align_answers,
        remembered=predictor.columns,
    )
    refuse_invalid_rows(
        reading.invalid_rows, len(reading.examples), remedy="Mend them, or take them out of the file."
    )
    progress.note(f"{len(reading.examples):,} rows")
    if notice := notice_of_groups(reading.examples, group_by):
        progress.warn(notice)
    if reading.realigned:
        progress.warn(f"{len(reading.realigned)} answers were found elsewhere than their rows say")
    progress.stage("Evaluating")

    def advance(done: int, total: int) -> None:
        progress.advance(done, total, "texts")

    encoded = predictor.encode_to_score(reading.examples)
    if task.needs_reference:
        encoded = with_reference(encoded, _reference_of(recipe, predictor, encoded))
    evaluated = predictor.score(reading.examples, encoded, advance=advance)
    scored = Scored(task, label_schema, reading.examples, evaluated, group_by)
    return build_metrics({"test": scored}, how, recipe.seed)


def _reference_of(recipe: Recipe, predictor: Predictor, encoded: Any) -> Any:
    """The likelihoods of the model that the run began from."""
    base = load_for_training(
        resolve_model(recipe.model),
        predictor.task,
        predictor.label_schema,
        pooling="auto",
        seed=recipe.seed,
        chat_template=recipe.data.chat_template,
    )
    return forward(predictor.task, base.model, encoded, pad_token_id=predictor.tokenizer.pad_token_id)
