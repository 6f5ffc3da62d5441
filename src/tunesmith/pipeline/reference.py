"""The reference of a run, for `monitor`: made at the end of a training, or again from the data of an older run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.checks._words import row_texts
from tunesmith.data.encoding import options_of
from tunesmith.data.examples import fingerprint
from tunesmith.data.personal import redacted
from tunesmith.data.preparing import all_sources, prepare
from tunesmith.errors import DataError, UserError
from tunesmith.inference.answering import answer
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.trust import Trust, withheld
from tunesmith.models.loading import LoadedModel
from tunesmith.monitoring.observed import Observed
from tunesmith.monitoring.reading import as_numbers, judge, labels_of, observe_answers, with_texts
from tunesmith.monitoring.reference import ENOUGH_ROWS, MOST_ROWS, Reference
from tunesmith.monitoring.texts import MOST_TEXTS, Vocabulary, text_of_row, without_personal
from tunesmith.pipeline.evaluating import answer_rows
from tunesmith.pipeline.head_of import head_of
from tunesmith.tasks import EvalPredictions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tunesmith.data.examples import Examples
    from tunesmith.evaluation.scoring import Scored
    from tunesmith.events import Events
    from tunesmith.pipeline.analysing import SavedAnswers
    from tunesmith.recipe import Recipe
    from tunesmith.run import Run
    from tunesmith.types import JsonObject

_OF_FITTED = ("score", "correct", "gold", "abstained", "out_of_scope")
"""What was fitted on validation rows: their own figures would promise too much."""


@dataclass(frozen=True)
class HeldOut:
    """A split as the saved model answers it.

    Args:
        scored: its rows with their answers.
        features: [rows, d], what the head reads of each row; None where a row has no vector.
    """

    scored: Scored
    features: NDArray[np.float32] | None


def keep_reference(answers: SavedAnswers, final: Scored) -> None:
    """Writes the reference of a training into its run.

    Args:
        answers: rows as the saved model answers them.
        final: every row of the final split, also those that were trained on.
    """
    work, plan = answers.work, answers.plan
    loaded = LoadedModel(answers.model, plan.tokenizer, head_is_new=False, bf16=False, notes=())
    asked, how = plan.recipe.data.overlap_tokens, options_of(plan.recipe.data)
    overlap, trust = None if asked == "auto" else asked, Trust.of_model(work.run.model)
    predictor = Predictor(work.task, loaded, overlap, work.run.read_as(), work.run.path, trust, how)
    parts = {plan.final_split: HeldOut(final, answers.every_vector(plan.final_split))}
    if plan.final_split != "validation" and len(final.examples) < ENOUGH_ROWS:
        examples = plan.data.splits["validation"]
        scored = replace(final, examples=examples, evaluated=answers.predict("validation", with_texts=False))
        parts["validation"] = HeldOut(scored, answers.every_vector("validation"))
    _reference(predictor, parts, plan.data.splits["train"], plan.recipe.seed).save(work.run.data)


def reference_of(run: Run, predictor: Predictor, events: Events) -> Reference:
    """The reference of a run; that of an older run is made from its data, and kept.

    Args:
        run: finished run.
        predictor: of the run.
        events: listeners.

    Raises:
        DataError: an earlier version made the run, and its data have changed or are gone.
    """
    if (found := Reference.load(run.data)) is not None:
        return found
    recipe = run.recipe()
    try:
        is_same = fingerprint(all_sources(recipe.data)) == run.manifest()["data"]["fingerprint"]
    except (UserError, OSError):
        is_same = False
    if not is_same:
        raise DataError(
            f"an earlier version made `{run.path}` without a reference to compare with, and its data files have "
            "changed or are gone.",
            remedy="Put the files back and run the command again, or train the model again.",
        )
    events.note("an earlier version made this run: its reference is made from its data")
    made = _made_again(recipe, predictor, events)
    made.save(run.data)
    return made


def _made_again(recipe: Recipe, predictor: Predictor, events: Events) -> Reference:
    prepared = prepare(predictor.task, recipe)
    names = [name for name in ("test", "validation") if name in prepared.splits]
    if len(prepared.splits[names[0]]) >= ENOUGH_ROWS:
        names = names[:1]
    parts: dict[str, HeldOut] = {}
    for name in names:
        scored, features = answer_rows(recipe, predictor, prepared.splits[name], events)
        parts[name] = HeldOut(scored, features)
    return _reference(predictor, parts, prepared.splits["train"], recipe.seed)


def _reference(predictor: Predictor, parts: Mapping[str, HeldOut], train: Examples, seed: int) -> Reference:
    """The reference from held-out rows, those of the final split first."""
    vocabulary = Vocabulary.of(_training_texts(train, seed))
    labels = _labels(predictor, parts.values())
    rows: list[Observed] = []
    for number, part in enumerate(parts.values()):
        taken = _sampled(len(part.scored.examples), MOST_ROWS - sum(one.n for one in rows), seed)
        observed = _observed(predictor, part, taken, labels)
        observed = with_texts(observed, _texts(part.scored.examples, taken), vocabulary)
        if number:
            known = {name: it for name, it in observed.numbers.items() if name not in _OF_FITTED}
            observed = replace(observed, numbers=known)
        names = [part.scored.examples.row_id(int(row)) for row in taken]
        rows.append(replace(observed, texts=(), names=names))
    final = next(iter(parts))
    return Reference(Observed.join(rows), labels, vocabulary, predictor.task.name, final)


def _sampled(n: int, most: int, seed: int) -> NDArray[np.int64]:
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, max(most, 0), replace=False))


def _training_texts(train: Examples, seed: int) -> Iterator[str]:
    for text in row_texts(train, _sampled(len(train), MOST_TEXTS, seed).tolist()):
        yield redacted(text)


def _texts(examples: Examples, rows: NDArray[np.int64]) -> list[str]:
    names = [name for name in examples.inputs if name in examples.columns]
    return [text_of_row({name: examples.columns[name][row] for name in names}, names) for row in rows]


def _labels(predictor: Predictor, parts: Sequence[HeldOut] | Any) -> tuple[str, ...]:
    """The names of the labels of answers: those of the head, or those that answers of held-out rows have."""
    found = {
        label
        for part in parts
        for prediction in _predictions(part.scored)
        for label in labels_of(prediction) or ()
    }
    named = tuple(map(str, predictor.labels))
    return named if found <= set(named) else tuple(sorted(found))


def _observed(
    predictor: Predictor, part: HeldOut, rows: NDArray[np.int64], labels: Sequence[str]
) -> Observed:
    """Held-out rows, without what their texts are like."""
    scored, task = part.scored, predictor.task
    answered = [int(row) for row in rows if row < len(_predictions(scored))]
    predictions = [_with_trust(predictor.trust, part, row) for row in answered]
    numbers, codes = observe_answers(task, scored.label_schema, predictions, labels)
    known = {label: float(code) for code, label in enumerate(labels)}
    gold = [scored.gold[row] for row in answered]
    numbers["correct"] = as_numbers(judge(task, it, one) for it, one in zip(predictions, gold, strict=True))
    numbers["gold"] = as_numbers(known.get(one, np.nan) if isinstance(one, str) else np.nan for one in gold)
    numbers |= _written(predictor, scored, answered)
    inputs = inputs_of_examples(task.inputs, scored.examples, rows)
    numbers = {name: _filled(values, len(rows)) for name, values in numbers.items()}
    numbers["tokens"] = predictor.prepare(inputs).tokens.astype(np.float64)
    vectors = None if part.features is None else _without_personal(predictor, inputs, part.features[rows])
    return Observed(len(rows), numbers, vectors, answers=codes if len(answered) == len(rows) else None)


def _predictions(scored: Scored) -> Sequence[JsonObject]:
    """The answers; none where they are texts that were not generated."""
    is_written = scored.task.generation is not None
    return () if is_written and scored.evaluated.texts is None else scored.predictions


def _filled(values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Numbers of the first rows, and NaN for the others."""
    return np.concatenate([values, np.full(n - len(values), np.nan)])


def _with_trust(trust: Trust, part: HeldOut, row: int) -> JsonObject:
    """An answer with what the saved model knows of it, as a client would get it."""
    scored = part.scored
    prediction = dict(scored.predictions[row])
    if trust.abstention is not None:
        prediction["abstained"] = withheld(scored.task, prediction, scored.label_schema, trust.abstention)
    if trust.scope is not None and part.features is not None:
        prediction["out_of_scope"] = {"is_out": bool(trust.scope.scores(part.features[row : row + 1])[0] > 1)}
    return prediction


def _written(predictor: Predictor, scored: Scored, rows: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """The tokens of the texts that the model wrote."""
    texts = scored.evaluated.texts
    if not texts:
        return {}
    known = [texts[row] for row in rows if row < len(texts)]
    ids = predictor.tokenizer(known, add_special_tokens=False, verbose=False)["input_ids"]
    return {"written": as_numbers(map(len, ids))}


def inputs_of_examples(
    inputs: Sequence[str], examples: Examples, rows: NDArray[np.int64]
) -> list[JsonObject]:
    """Rows without what is to be predicted."""
    names = [name for name in inputs if name in examples.columns]
    return [{name: examples.columns[name][row] for name in names} for row in rows.tolist()]


def answer_with_vectors(
    predictor: Predictor, rows: list[JsonObject]
) -> tuple[list[JsonObject] | None, NDArray[np.float32] | None, NDArray[np.float64]]:
    """Answers of rows that the task has read, their vectors (None without any), and their tokens.

    There are no answers where the model would have to write them, or where rows as they come have none: a text
    without a mask.
    """
    prepared = predictor.prepare(rows)
    tokens = prepared.tokens.astype(np.float64)
    if predictor.task.generation is not None or predictor.task.masking is not None:
        return None, None, tokens
    evaluated = _answered(predictor, prepared)
    vectors = evaluated.memo.get("features")
    predictions = predictor.answers_of(prepared, evaluated)
    if vectors is not None:
        vectors = _without_personal(predictor, rows, np.asarray(vectors))
    return predictions, vectors, tokens


def _answered(predictor: Predictor, prepared: Any) -> EvalPredictions:
    head = head_of(predictor.task, predictor.model)
    return answer(
        predictor.task, predictor.model, predictor.tokenizer, prepared.columns, prepared.encoded,
        bf16=predictor.bf16, head=head,
    )  # fmt: skip


def vectors_of(predictor: Predictor, rows: list[JsonObject]) -> NDArray[np.float32] | None:
    """[rows, d], what the head reads of rows; None where a row has no vector."""
    if head_of(predictor.task, predictor.model) is None:
        return None
    return np.asarray(_answered(predictor, predictor.prepare(rows)).memo["features"], dtype=np.float32)


def _without_personal(
    predictor: Predictor, rows: list[JsonObject], vectors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The vectors as the texts would have them with personal data replaced."""
    replaced = [without_personal(row) for row in rows]
    changed = [number for number, row in enumerate(rows) if replaced[number] != row]
    if not changed:
        return vectors
    found = vectors_of(predictor, [replaced[number] for number in changed])
    vectors = vectors.copy()
    vectors[changed] = found
    return vectors
