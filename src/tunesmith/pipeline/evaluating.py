"""`evaluate`: the scores of a finished run on other data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.examples import Examples, Reading
from tunesmith.data.grouping import group_columns, notice_of_groups
from tunesmith.data.invalid_rows import refuse_invalid_rows
from tunesmith.data.preparing import read_checked
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.train_texts import TrainTexts, read_train_texts
from tunesmith.effects import in_words, is_set, not_for_task
from tunesmith.encoded import Encoded
from tunesmith.errors import RecipeError
from tunesmith.evaluation.analyses import Answered, analyse
from tunesmith.evaluation.neighbours import TrainingVectors
from tunesmith.evaluation.result import build_metrics
from tunesmith.evaluation.scoring import Scored
from tunesmith.evaluation.seen import rows_that_count, take_rows
from tunesmith.evaluation.widening import widened, widened_schema
from tunesmith.events import Events, Listener
from tunesmith.inference.answering import score, with_samples
from tunesmith.inference.embedder import head_outputs
from tunesmith.inference.forward import forward
from tunesmith.inference.harm import Asked, Harm, ask
from tunesmith.inference.predictor import Predictor
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.pipeline.analysing import likelihoods_of
from tunesmith.pipeline.head_of import head_of
from tunesmith.pipeline.writing import samples_of
from tunesmith.recipe import Recipe, RecipeDraft
from tunesmith.reports import write_evaluation
from tunesmith.run import Run, write_json
from tunesmith.tasks import EvalPredictions, LabelSchema
from tunesmith.training.probe import take_features
from tunesmith.training.reference import with_reference

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_REPORTS = (".html", ".htm")


def evaluate(
    path: str | os.PathLike[str],
    sources: Sequence[str],
    *,
    columns: Mapping[str, str | list[str]] | None = None,
    output: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, object] | Sequence[str] = (),
    force: bool = False,
    listeners: Iterable[Listener] = (),
) -> JsonObject:
    """Scores of a finished run on other data.

    Args:
        path: run folder.
        sources: files, folders or Hub names.
        columns: the file's column for each of the task's; those of the run when None.
        output: the file to write about them: a report (.html), or what is returned (.json); none when None.
        overrides: values of `evaluate` in place of those of the run: `["evaluate.groups=[dialect]"]`.
        force: replace an earlier file.
        listeners: called with every event (`tunesmith.events`).

    Raises:
        UserError: the run, a file, a column, a row, a value or the output cannot be used.
    """
    _refuse_output(output, force=force)
    events, run = Events(listeners), Run.open(path)
    recipe, predictor = _overridden(run.recipe(), overrides), Predictor.from_run(path)
    _refuse_without_effect(recipe, predictor, overrides)
    for note in predictor.notes:
        events.note(note)
    events.stage("read", "Reading the data")
    reading = read_rows(recipe, predictor, sources, columns or {}, events)
    events.stage("evaluate", "Evaluating")
    scored, features = answer_rows(recipe, predictor, reading.examples, events)
    metrics = _find(run, recipe, predictor, scored, features, events)
    if output is not None and Path(output).suffix in _REPORTS:
        write_evaluation(run, metrics, scored.lines, sources, Path(output))
    elif output is not None:
        write_json(Path(output), metrics)
    return metrics


def answer_rows(
    recipe: Recipe,
    predictor: Predictor,
    examples: Examples,
    events: Events,
    label_schema: LabelSchema | None = None,
) -> tuple[Scored, NDArray[np.float32] | None]:
    """Rows as a finished run answers them, and the inputs of its head [rows, d] where each row has a vector.

    Args:
        recipe: the recipe that the run used.
        predictor: the predictor of the run.
        examples: rows with labels.
        events: listeners.
        label_schema: all labels of the rows, where some may be new to the run; those of the run when None.
    """
    task, own = predictor.task, predictor.label_schema
    schema = own if label_schema is None else widened_schema(task, own, label_schema)
    encoded = predictor.encode_to_score(examples, schema)
    if predictor.task.reference:
        encoded = with_reference(encoded, _reference_of(recipe, predictor, encoded))
    evaluated, features = _answer(predictor, examples, encoded, events)
    n, how = samples_of(predictor.task, recipe.evaluate), (predictor.max_length, predictor.label_schema)
    advance = events.progress("written texts")
    evaluated = widened(task, evaluated, own, schema)
    evaluated = with_samples(
        predictor.task, predictor.model, predictor.tokenizer, evaluated, n, *how, advance=advance
    )
    group_by = recipe.data.group_by
    return Scored(task, schema, examples, evaluated, group_by), features


def _overridden(recipe: Recipe, overrides: Mapping[str, object] | Sequence[str]) -> Recipe:
    """The recipe of a run with other values in its section `evaluate`.

    Raises:
        RecipeError: a key is of another section, is unknown, or its value is wrong.
    """
    for given in overrides:
        if not (key := given.partition("=")[0].strip()).startswith("evaluate."):
            raise RecipeError(
                f"an evaluation takes keys of `evaluate`, got `{key}`.",
                remedy="Example: `evaluate.groups=[dialect]`.",
            )
    draft = RecipeDraft(tree=recipe.model_dump(mode="json", exclude_unset=True))
    draft.override_all(overrides)
    return draft.validate() if overrides else recipe


def _refuse_without_effect(
    recipe: Recipe, predictor: Predictor, overrides: Mapping[str, object] | Sequence[str]
) -> None:
    """Raises RecipeError for a value that changes nothing for the task of a run."""
    task = predictor.task
    given = {item.partition("=")[0].strip() for item in overrides}
    for key in not_for_task(task):
        if key in given and is_set(recipe, key):
            raise RecipeError(f"`{key}` has no effect on {in_words(task)}.", remedy="Leave it out.")


def _refuse_output(output: str | os.PathLike[str] | None, *, force: bool) -> None:
    """Raises RecipeError where a file of another kind is asked for, or one is there already."""
    if output is None:
        return
    if Path(output).suffix not in (*_REPORTS, ".json"):
        raise RecipeError(
            f"an evaluation is written as .html or .json, got `{output}`.",
            remedy="Give a name that ends with one of these.",
        )
    if Path(output).exists() and not force:
        raise RecipeError(f"`{output}` already exists.", remedy="Give another name, or `--force`.")


def _find(
    run: Run,
    recipe: Recipe,
    predictor: Predictor,
    scored: Scored,
    features: NDArray[np.float32] | None,
    events: Events,
) -> JsonObject:
    """The scores, and what the analyses find."""
    how, seed = recipe.evaluate, recipe.seed
    rows, seen = rows_that_count(scored, _train_texts(run, events), how, seed)
    final = take_rows(scored, rows)
    metrics = build_metrics(final, "test", how, seed, seen=seen)
    answered = Answered(
        final,
        how,
        seed,
        run,
        features={"final": None if features is None else features[rows]}.get,
        metrics=metrics,
        training=lambda: TrainingVectors.load(run.data),
        pair_likelihoods=likelihoods_of(predictor.task, predictor.model, predictor.tokenizer, events),
        answer=predictor.predict_rows,
        harm=lambda: _harm(recipe, predictor, events),
    )
    return {**metrics, **analyse(answered)}


def _harm(recipe: Recipe, predictor: Predictor, events: Events) -> Harm | None:
    """What the model gives away and refuses; the base model and the training texts are not at hand."""
    asked = Asked.of(predictor.task, recipe.evaluate)
    if predictor.task.generation is None:
        return None
    how = (predictor.max_length, predictor.label_schema, events.progress)
    return Harm(asked, ask(predictor.task, predictor.model, predictor.tokenizer, asked, *how))


def _answer(
    predictor: Predictor, examples: Examples, encoded: Encoded, events: Events
) -> tuple[EvalPredictions, NDArray[np.float32] | None]:
    """The rows as the model answers them, and the inputs of its head [rows, d] where each row has a vector."""
    head, advance = head_of(predictor.task, predictor.model), events.progress("texts")
    if head is None:
        return predictor.score(examples, encoded, advance=advance), None
    features = take_features(
        predictor.task,
        predictor.model,
        encoded,
        head=head,
        pad_token_id=predictor.tokenizer.pad_token_id,
        bf16=predictor.bf16,
        location=examples.location,
        advance=advance,
    )
    outputs = head_outputs(head, features)
    evaluated = score(
        predictor.task, predictor.model, predictor.tokenizer, examples.columns, encoded, outputs=outputs
    )
    return evaluated, np.asarray(features)


def _train_texts(run: Run, events: Events) -> TrainTexts | None:
    found = read_train_texts(run.data)
    if found is None:
        events.note("an earlier version made this run: rows that it was trained on are not recognised")
    elif found.texts is None:
        events.note("an earlier version made this run: edited copies of its training rows are not recognised")
    return found


def read_rows(
    recipe: Recipe,
    predictor: Predictor,
    sources: Sequence[str],
    columns: Mapping[str, str | list[str]],
    events: Events,
) -> Reading:
    """The rows, every one of which can be used; what the user should know of them is reported."""
    group_by = recipe.data.group_by
    reading = read_checked(
        predictor.task,
        sources,
        predictor.label_schema,
        ReadOptions(
            columns,
            [*recipe.evaluate.slices, *recipe.evaluate.groups],
            group_columns(group_by),
            recipe.data.align_answers,
            predictor.columns,
        ),
    )
    n_rows = len(reading.examples)
    for notice in reading.notices:
        events.warn(notice)
    refuse_invalid_rows(reading.invalid_rows, n_rows, remedy="Fix them, or take them out of the file.")
    events.note(f"{n_rows:,} rows")
    if notice := notice_of_groups(reading.examples, group_by):
        events.warn(notice)
    if reading.realigned:
        events.warn(f"{len(reading.realigned)} answers were found at another location than their rows give")
    return reading


def _reference_of(recipe: Recipe, predictor: Predictor, encoded: Encoded) -> NDArray[np.float32]:
    """The likelihoods of the model that the run began from."""
    base = load_for_training(
        resolve_model(recipe.model),
        predictor.task,
        predictor.label_schema,
        pooling="auto",
        seed=recipe.seed,
        chat_template=recipe.data.chat_template,
    )
    pad_token_id = predictor.tokenizer.pad_token_id
    return np.asarray(forward(predictor.task, base.model, encoded, pad_token_id=pad_token_id))
