"""Every stage of a training, in order; each reads what the one before made.

    begin (data, model) → encode → reference → probe → fit → thresholds → save → evaluate → report

A run that was stopped goes through the same stages again: encodings come from the cache, reference, probe and
loop from what they saved, and the result is bit for bit that of a run that was never stopped.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.augmenting import augmented
from tunesmith.data.encoding import cache_folder, encode_splits, with_something_to_learn
from tunesmith.data.examples import fingerprint, refuse_faults, set_faults_aside
from tunesmith.data.packing import pack
from tunesmith.data.preparing import all_sources, find_splits, read_checked
from tunesmith.data.states import free_bytes
from tunesmith.encoded import Encoded
from tunesmith.errors import DataError, RecipeError
from tunesmith.evaluation.baselines import TrainingRows
from tunesmith.evaluation.result import build_metrics, score_baselines, write_predictions
from tunesmith.evaluation.scoring import Scored
from tunesmith.inference.answering import with_samples
from tunesmith.inference.forward import forward
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.prefix import FrozenPrefix, in_words, without_prefix
from tunesmith.models import heads
from tunesmith.models.freezing import freeze_body, freeze_bottom, freeze_embeddings, freeze_named
from tunesmith.models.generation import allow_tokens, set_generation
from tunesmith.models.loading import load_for_training, load_trained
from tunesmith.models.memory import use_checkpointing
from tunesmith.models.resolve import resolve_model
from tunesmith.models.saving import save_model
from tunesmith.progress import Progress, Silent
from tunesmith.recipe import Recipe
from tunesmith.reports import write_card, write_report
from tunesmith.run import Run, write_atomically, write_json
from tunesmith.session import Session, begin, describe
from tunesmith.tasks import TASKS, Seen, Task, point_scores
from tunesmith.training.checkpoints import Checkpoints, State
from tunesmith.training.events import EventLog
from tunesmith.training.loop import Job, Loop, Settings, make_accelerator
from tunesmith.training.micro_batches import choose_micro_batch, measure_training
from tunesmith.training.plan import Plan
from tunesmith.training.probe import (
    Features,
    ProbeHead,
    fit_probe,
    probe_answers,
    put_head,
    take_features,
)
from tunesmith.training.reference import load_reference, save_reference, with_reference
from tunesmith.training.resolving import balanced_weights, choose_max_length, resolve_training

_SHORT_TEXT_TOKENS = 128
_BLOCK_TOKENS = 2**20


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
    run, requested = Run(recipe.output_dir), recipe
    recipe = find_splits(recipe)
    data_fingerprint = fingerprint(all_sources(recipe.data))
    with run.locked():
        goes_on = run.begin(requested, fingerprint=data_fingerprint, force=force)
        if goes_on and run.is_finished:
            progress.note(f"{run.path} is finished; nothing to do")
            return run
        session = begin(run, recipe, task, progress)
        _record(session, requested, data_fingerprint, goes_on=goes_on)
        _train(session)
    return run


def _record(session: Session, requested: Recipe, data_fingerprint: str, *, goes_on: bool) -> None:
    """Writes what the run is made from; on going on, what depended on the machine stays as it was."""
    run, data = session.run, session.data
    before = run.manifest() if goes_on else {}
    if "used" in before:
        session.recipe = Recipe.model_validate({**before["used"], "output_dir": str(run.path)})
    run.update_manifest(
        requested=before.get("requested") or requested.model_dump(mode="json"),
        **describe(session, requested, data_fingerprint, before),
    )
    write_atomically(run.data / "splits.json", data.row_ids_as_json())
    if data.faults:
        set_faults_aside(data.faults, run.data / "bad_rows.jsonl")


def _train(session: Session) -> None:
    """Every stage after the data and the model are there."""
    with session.stage("encode", "Encoding"):
        _encode(session)
    accelerator = make_accelerator()
    plan, settings = _resolve(session, accelerator)
    with session.stage("baselines", "Looking at the untouched model"):
        _add_references(session, settings)
        baselines = _untouched(session)
        _allow_targets(session)
    with session.stage("probe", "Probing the frozen model"):
        baselines |= _probe(session, settings)
    with session.stage("train", f"Training: {session.recipe.train.method}"):
        state = _fit(session, plan, settings, accelerator)
    with session.stage("save", "Saving"):
        _save(session)
    with session.stage("evaluate", "Evaluating the saved model"):
        metrics = _evaluate(session, baselines, accelerator.device)
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


def _encode(session: Session) -> None:
    """Encodes every split, tells what is lost, and leaves out what holds nothing to learn from."""
    task, tokenizer, how = session.task, session.tokenizer, session.recipe.data
    splits = dict(session.data.splits)
    if session.recipe.train.augment:
        splits["train"] = augmented(splits["train"], session.recipe.train.augment, task, session.recipe.seed)
    encoded = encode_splits(
        task,
        splits,
        tokenizer,
        session.targets,
        choose_max_length=lambda longest: choose_max_length(
            how.max_length, session.model, tokenizer, longest, task.max_length, task.least_length
        ),
        overlap=None if how.overlap_tokens == "auto" else how.overlap_tokens,
        cache=cache_folder(),
    )
    for name, found in encoded.supervision.items():
        (session.progress.note if found.is_whole else session.progress.warn)(f"{name}: {found}")
        if how.too_long == "stop" and (found.rows_cut or found.rows_windowed):
            raise DataError(
                f"data.too_long is `stop`, and of the {name} rows, {found}.",
                remedy="Give a larger `data.max_length`, shorten the texts, or accept it with `auto`.",
            )
    write_json(
        session.run.data / "supervision.json",
        {n: {**asdict(found), "is_whole": found.is_whole} for n, found in encoded.supervision.items()},
    )
    session.splits = dict(encoded.splits)
    session.splits["train"] = with_something_to_learn(task, encoded.splits["train"])
    if task.packs and how.packing is not False and _can_pack(session):
        session.splits["train"] = pack(session.splits["train"], encoded.max_length)
    session.max_length = encoded.max_length
    session.model.set_attn_implementation("eager" if encoded.longest <= _SHORT_TEXT_TOKENS else "sdpa")


def _can_pack(session: Session) -> bool:
    """Whether the model takes positions, from which the texts of a sequence are told apart.

    Raises:
        RecipeError: packing is asked for and it does not.
    """
    possible = "position_ids" in inspect.signature(session.model.forward).parameters
    if session.recipe.data.packing is True and not possible:
        raise RecipeError(
            f"data.packing needs a model that takes positions, and `{session.recipe.model}` does not.",
            remedy="Leave it at `auto`.",
        )
    return possible


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
        class_weights=balanced_weights(session.recipe, train, session.task.config(session.targets)),
    )
    session.recipe = set_generation(model, session.tokenizer, session.task, session.recipe, train)
    freeze_bottom(model, session.recipe.train.freeze_layers)
    if session.recipe.train.freeze_embeddings:
        freeze_embeddings(model)
    freeze_named(model, session.recipe.train.freeze)
    model.to(accelerator.device)
    _share_frozen_layers(session, plan, settings)
    settings = _within_memory(session, plan, settings, accelerator)
    write_atomically(session.run.recipe_file, session.recipe.to_yaml())
    session.run.update_manifest(used=session.recipe.model_dump(mode="json"))
    if session.head is not None:
        heads.keep_head_precise(session.head)
    return plan, settings


def _share_frozen_layers(session: Session, plan: Plan, settings: Settings) -> None:
    """Decides whether what the frozen layers compute is kept on disk, and tells why not.

    Raises:
        RecipeError: it is asked for and cannot be.
    """
    asked = session.recipe.train.cache_frozen_layers
    if asked is not False:
        prefix, reason = _find_prefix(session, plan, settings)
        if reason and asked is True:
            raise RecipeError(
                f"train.cache_frozen_layers is true, and {reason}.",
                remedy="Leave it at `auto`, or mend that.",
            )
        if reason and session.recipe.train.freeze_layers:
            session.progress.note(f"what the frozen layers compute is not kept: {reason}")
        session.prefix = None if reason else prefix
    session.recipe = session.recipe.replace(train={"cache_frozen_layers": session.prefix is not None})


def _find_prefix(session: Session, plan: Plan, settings: Settings) -> tuple[FrozenPrefix | None, str]:
    """What the frozen layers compute, to be kept; or why it is not."""
    task, recipe, train = session.task, session.recipe, session.splits["train"]
    if recipe.train.method == "probe":
        return None, "a probe reads each text only once"
    passes = plan.epochs_done(plan.total_steps) + _wants_probe(session)
    reason = without_prefix(task, session.model, noise=settings.neftune_noise_alpha, passes=passes)
    if reason:
        return None, reason
    prefix = FrozenPrefix(
        task,
        session.model,
        folder=cache_folder() / "frozen",
        pad_token_id=session.tokenizer.pad_token_id,
        bf16=settings.bf16,
        tell=session.progress.note,
    )
    fault = prefix.fault(train)
    if fault:
        return None, fault
    needed, free = prefix.make_room(session.splits), free_bytes(prefix.folder)
    if 2 * needed > free:
        return (
            None,
            f"it takes {in_words(needed)} of disk, and only {in_words(free)} are free in {prefix.folder}",
        )
    return prefix, ""


def _within_memory(session: Session, plan: Plan, settings: Settings, accelerator: Any) -> Settings:
    """Tells what training takes of the memory, and bounds the forward passes so that it fits."""
    train = session.recipe.train
    if train.method == "probe":
        return settings
    if train.gradient_checkpointing:  # the fast encoder leaves these layers to the stock arithmetic
        use_checkpointing(session.model)
    memory = measure_training(
        session.task,
        session.model,
        session.splits["train"],
        pad_token_id=session.tokenizer.pad_token_id,
        bf16=settings.bf16,
        passes=2 if settings.r_drop_alpha else 1,
    )
    tokens, notices = choose_micro_batch(
        session.recipe,
        plan,
        memory,
        world=accelerator.num_processes,
        device=accelerator.device.type,
    )
    largest = min(tokens, plan.most_tokens(train.gradient_accumulation_steps * accelerator.num_processes))
    session.progress.note(f"memory: {memory.describe(largest, plan.longest)}")
    session.run.update_manifest(memory=memory.to_json(largest, plan.longest))
    for notice in notices:
        session.progress.warn(notice)
    session.recipe = session.recipe.replace(train={"tokens_per_micro_batch": tokens})
    return replace(settings, tokens_per_micro_batch=tokens)


def _add_references(session: Session, settings: Settings) -> None:
    """Where the loss compares with the model as it was: its likelihoods of every split."""
    if not session.task.pairs:
        return
    for name, encoded in session.splits.items():
        file = session.run.checkpoints / f"reference-{name}.safetensors"
        reference = load_reference(file)
        if reference is None:
            # In the arithmetic of the passes that it is compared with: looks and scores are in full precision.
            bf16 = settings.bf16 and name == "train"
            reference = np.asarray(session.see(name, with_texts=False, bf16=bf16).kept)
            save_reference(file, reference)
        session.splits[name] = with_reference(encoded, reference)


def _untouched(session: Session) -> dict[str, dict[str, float]]:
    """The scores of the model before it is trained, where the task wants them beside the result."""
    if "untouched" not in session.task.baselines or not session.recipe.evaluate.baselines:
        return {}
    known = session.run.manifest().get("untouched")
    if known is None:
        known = point_scores(session.task, session.see(session.final), session.targets)
        session.run.update_manifest(untouched=known)
    return {"untouched": known}


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


def _probe(session: Session, settings: Settings) -> dict[str, dict[str, float]]:
    """Fits a head on frozen features and starts the model from it; a head made for these labels stays.

    Returns:
        The probe's scores on the rows that count, for its place among the baselines.
    """
    recipe, task = session.recipe, session.task
    is_start = recipe.train.head_start or recipe.train.method == "probe"
    wants_score = recipe.evaluate.baselines and recipe.train.method != "probe"
    if not _wants_probe(session):
        session.progress.note("no probe")
        return {}
    file = session.run.checkpoints / "probe.safetensors"
    probe = ProbeHead.load(file)
    if probe is None:
        train, validation = (_features(session, name, settings) for name in ("train", "validation"))
        seen = Seen(session.data.splits["validation"].columns, session.splits["validation"])
        probe = fit_probe(task, session.targets, (train, session.splits["train"]), (validation, seen))
        probe.save(file)
    session.progress.note(f"probe: regularisation C = {probe.strength:g}")
    scores = {}
    if wants_score:
        final = Seen(session.data.splits[session.final].columns, session.splits[session.final])
        answered = probe_answers(probe, _features(session, session.final, settings), final)
        scores["probe"] = point_scores(task, answered, session.targets)
    if is_start:
        put_head(session.model, probe)
    if recipe.train.method != "probe":  # else the scores are made from them
        session.features.clear()
    return scores


def _wants_probe(session: Session) -> bool:
    train = session.recipe.train
    is_useful = train.head_start or train.method == "probe" or session.recipe.evaluate.baselines
    return session.task.probe is not None and session.loaded.head_is_new and is_useful


def _features(session: Session, split: str, settings: Settings) -> Features:
    """What the head sees of a split; taken once, and in full precision where the result is scored by it."""
    if split in session.features:
        return session.features[split]
    is_scored = session.recipe.train.method == "probe" and split != "train"
    with session.reading(split) as encoded:
        features = take_features(
            session.task,
            session.model,
            encoded,
            head=session.head,
            pad_token_id=session.tokenizer.pad_token_id,
            bf16=settings.bf16 and not is_scored,
            place=lambda row: session.data.splits[split].place(row % len(session.data.splits[split])),
            advance=session.advance(f"{split} texts"),
        )
    if split != "train":
        session.features[split] = features
    return features


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
    from tunesmith.models.embedding_rows import training_rows

    places = session.data.splits["train"].place
    job = Job(
        model=session.model,
        task=session.task,
        train=train,
        look=lambda: session.task.look(session.see("validation", with_texts=False), session.targets),
        plan=plan,
        settings=settings,
        tokenizer=session.tokenizer,
        place=lambda row: places(row % len(session.data.splits["train"])),
        head=session.head,
        head_scale=session.task.head_scale(session.targets)[1],
    )
    checkpoints = Checkpoints(session.run.checkpoints)
    with training_rows(session.model, _token_ids(session, train)):
        return Loop(job, checkpoints, EventLog(session.run.events_file), session.progress, accelerator).run()


def _token_ids(session: Session, train: Encoded) -> Iterator[NDArray[np.int64]] | None:
    """Every id that training will read; none if the task draws ids anew at every step."""
    if type(session.task).vary is not Task.vary:
        return None
    found = [ragged.values for name, ragged in train.ragged.items() if name.endswith("input_ids")]
    found.append(np.array([session.tokenizer.pad_token_id]))
    return (ids[i : i + _BLOCK_TOKENS] for ids in found for i in range(0, len(ids), _BLOCK_TOKENS))


def _save(session: Session) -> None:
    """Fits what is fitted on the validation rows, and writes the model."""
    task, model = session.task, session.model
    fits = type(task).fit_thresholds is not Task.fit_thresholds
    seen = session.see("validation", with_texts=False) if fits else None
    fitted = task.fit_thresholds(seen, session.targets) if seen is not None else session.targets
    if fitted != session.targets:
        session.targets = fitted
        model.config.update(task.config(fitted))
        session.run.update_manifest(targets=fitted)
    save_model(
        model.cpu(),
        session.tokenizer,
        session.run.model,
        max_length=session.max_length,
        adapter=session.adapter,
    )


def _evaluate(session: Session, baselines: dict[str, dict[str, float]], device: Any) -> dict[str, Any]:
    """Scores the model as it was saved, in full precision, and the baselines on the same rows."""
    how, task, targets = session.recipe.evaluate, session.task, session.targets
    saved = load_trained(resolve_model(str(session.run.model)), task, device=device)
    name = session.final
    examples = session.data.splits[name]
    seen = session.see(name, saved.model)
    seen = with_samples(task, saved.model, session.tokenizer, seen, how.samples, session.max_length, targets)
    final = Scored(task, targets, examples, seen)
    write_predictions(session.run, name, final)
    metrics = build_metrics({name: final}, how, session.recipe.seed)
    if how.baselines:
        train = TrainingRows(
            session.data.splits["train"].columns,
            # Noisy copies of the rows, if there are any, come after them.
            session.splits["train"].dense.get("labels", np.empty(0))[: len(session.data.splits["train"])],
            task.inputs,
            int(task.config(targets).get("num_labels", 0)),
        )
        scored = score_baselines(train, final) | baselines
        if session.recipe.train.method == "probe":
            scored["probe"] = point_scores(task, seen, targets)
        baselines = scored
    metrics["baselines"] = baselines
    return metrics


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
    task, targets = predictor.task, predictor.targets
    progress.stage("Reading the data")
    extra = [*how.slices, *how.groups]
    reading = read_checked(task, sources, columns or recipe.data.columns, targets, extra=extra)
    refuse_faults(reading.faults, len(reading.examples), remedy="Mend them, or take them out of the file.")
    progress.note(f"{len(reading.examples):,} rows")
    progress.stage("Evaluating")

    def advance(done: int, total: int) -> None:
        progress.advance(done, total, "texts")

    encoded = predictor.encode_to_score(reading.examples)
    if task.pairs:
        encoded = with_reference(encoded, _reference_of(recipe, predictor, encoded))
    seen = predictor.score(reading.examples, encoded, advance=advance)
    return build_metrics({"test": Scored(task, targets, reading.examples, seen)}, how, recipe.seed)


def _reference_of(recipe: Recipe, predictor: Predictor, encoded: Any) -> Any:
    """The likelihoods of the model that the run began from."""
    base = load_for_training(
        resolve_model(recipe.model),
        predictor.task,
        predictor.targets,
        pooling="auto",
        seed=recipe.seed,
        chat_template=recipe.data.chat_template,
    )
    return forward(predictor.task, base.model, encoded, pad_token_id=predictor.tokenizer.pad_token_id)
