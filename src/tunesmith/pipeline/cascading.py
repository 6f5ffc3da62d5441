"""The first stage of a cascade for a finished run: fitted on its training rows, judged on its validation rows.

It is kept in `RUN-cascade`, beside the run, with how both stages answered the validation rows. So another promise,
and another start of the server, needs no data. Rows that are copies of training rows are left out, as for the
promise of the run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tunesmith.data.preparing import PreparedData
from tunesmith.data.train_texts import read_train_texts
from tunesmith.errors import RecipeError, RunError
from tunesmith.evaluation.abstaining import JudgedAnswers, judged_answers
from tunesmith.evaluation.baselines._tfidf import joined_texts, new_vectorizer
from tunesmith.evaluation.cascade import FullModel, cascade_promise, share_right
from tunesmith.evaluation.clusters import one_of_each
from tunesmith.evaluation.scoring import Scored
from tunesmith.evaluation.seen import new_rows, take_rows
from tunesmith.events import Events
from tunesmith.inference.first_stage import FACTS_FILE, FirstStage, read_first_stage
from tunesmith.inference.predictor import Predictor
from tunesmith.pipeline.prepare import prepare_data
from tunesmith.pipeline.work import Work
from tunesmith.run import Run, sha256_of
from tunesmith.tasks import TASKS, EvalPredictions, Task
from tunesmith.training.loop import never
from tunesmith.training.processes import Processes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import JsonObject

_BASELINE = "tfidf_logistic_regression"
"""Tasks that have this baseline can have a first stage, which is the same model."""
_NEVER = -1e9


def prepare_cascade(run: Run, max_error: float) -> JsonObject:
    """The first stage of a run, made where it is not there, and the threshold that keeps a promise.

    Args:
        run: a finished run.
        max_error: most wrong answers of those that the first stage gives, as a share.

    Returns:
        `folder`, `threshold`, `max_error`; of the validation rows, `share` that it answers and `wrong` among them;
        `right` and `right_alone`, the shares that the cascade and the full model answer rightly.

    Raises:
        RecipeError: the task has none, or the promise cannot hold.
        RunError: the rows are not those of the training.
    """
    _refuse_promise(run, max_error)
    folder = run.path.with_name(f"{run.path.name}-cascade")
    if not _is_of(run, folder):
        _fit(run, folder)
    _, facts, judged = read_first_stage(folder)
    first = JudgedAnswers(judged["first_confidence"].astype(np.float64), judged["first_right"] > 0)
    full = FullModel(judged["full_given"] > 0, judged["full_right"] > 0, facts["promised"])
    promise = cascade_promise(first, full, max_error)
    if promise.threshold is None:
        raise RecipeError(
            f"no cascade for `{run.path}` keeps the promise of at most {max_error:.1%} wrong answers: the first "
            f"stage is not sure of enough of the {promise.answers} validation rows, or wrong too often.",
            remedy="Allow more errors, train with more validation rows, or serve without `--cascade`.",
        )
    return {
        "folder": str(folder.resolve()), "threshold": promise.threshold, "max_error": max_error,
        "rows": promise.answers, "share": promise.given / promise.answers, "wrong": promise.wrong,
        "right": share_right(first, full, promise.threshold), "right_alone": float(np.mean(full.is_right)),
    }  # fmt: skip


def _refuse_promise(run: Run, max_error: float) -> None:
    if not 0 < max_error < 1:
        raise RecipeError(f"`--cascade` must be between 0 and 1, got {max_error}.", remedy="Example: 0.02.")
    used = run.recipe()
    task = TASKS.get(used.task)
    if _BASELINE not in task.baselines or task.confidence is None or task.confidence.key:
        raise RecipeError(
            f"a cascade is for tasks with one label a text, and `{run.path}` is for {task.name}.",
            remedy="Serve it without `--cascade`.",
        )
    promised = used.evaluate.max_error
    if promised is not None and max_error > promised:
        raise RecipeError(
            f"`--cascade {max_error}` allows more errors than `{run.path}` has promised: {promised}.",
            remedy=f"Give at most {promised}.",
        )


def _weights(run: Run) -> JsonObject:
    return {file.name: sha256_of(file) for file in sorted(run.model.glob("*.safetensors"))}


def _is_of(run: Run, folder: Path) -> bool:
    """Whether the folder holds the first stage of this run.

    Raises:
        RunError: it holds something else.
    """
    if not folder.exists():
        return False
    if not (folder / FACTS_FILE).is_file():
        raise RunError(f"`{folder}` holds no first stage of a cascade.", remedy="Move it to another place.")
    return bool(read_first_stage(folder)[1]["weights"] == _weights(run))


def _fit(run: Run, folder: Path) -> None:
    predictor = Predictor.from_run(run.path)
    task, data = predictor.task, _data_of(run, predictor.task)
    labels = predictor.labels
    numbers = {label: number for number, label in enumerate(labels)}
    train = data.splits["train"].columns
    gold = np.array([numbers[it] for it in task.gold(train, predictor.label_schema)])
    stage = fit_first_stage(joined_texts(train, task.inputs), gold, len(labels))
    first, full = _judged(run, predictor, data, stage)
    facts = {"run": str(run.path.resolve()), "weights": _weights(run), "labels": labels,
             "promised": full.max_error}  # fmt: skip
    stage.save(folder, facts, {
        "first_confidence": first.confidence, "first_right": first.is_right.astype(np.uint8),
        "full_given": full.is_given.astype(np.uint8), "full_right": full.is_right.astype(np.uint8),
    })  # fmt: skip


def _data_of(run: Run, task: Task) -> PreparedData:
    """The rows of a run's splits, read again.

    Raises:
        RunError: they are not those of the training.
    """
    recipe = run.recipe()
    with tempfile.TemporaryDirectory() as other:
        work = Work(Run(other), task, recipe, recipe, Events(()), False, Processes(), never)
        data = prepare_data(work)
    if "".join(data.row_ids_as_json()) != (run.data / "splits.json").read_text(encoding="utf-8"):
        raise RunError(
            f"the data of `{run.path}` are not those of its training: other rows were found.",
            remedy="Begin the cascade where the training data are as they were.",
        )
    return data


def fit_first_stage(texts: Sequence[str], labels: NDArray[np.int64], n_labels: int) -> FirstStage:
    """The model of training rows; a label that none of them has is never the answer.

    Args:
        texts: texts of the rows.
        labels: [rows], numbers of their labels; at least two different ones.
        n_labels: number of labels.
    """
    from sklearn.linear_model import LogisticRegression

    vectorizer = new_vectorizer(len(texts))
    features = vectorizer.fit_transform(texts)
    model = LogisticRegression(C=10.0, max_iter=50, tol=1e-3).fit(features, labels)
    known, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # one row, for the second of two labels
        known, bias = np.stack([np.zeros_like(known[0]), known[0]]), np.array([0.0, bias[0]])
    weights = np.zeros((features.shape[1], n_labels), dtype=np.float32)
    weights[:, model.classes_] = known.T
    biases = np.full(n_labels, _NEVER, dtype=np.float32)
    biases[model.classes_] = bias
    words = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    return FirstStage(words, np.asarray(vectorizer.idf_, dtype=np.float32), weights, biases)


def _judged(
    run: Run, predictor: Predictor, data: PreparedData, stage: FirstStage
) -> tuple[JudgedAnswers, FullModel]:
    """How both stages answer the validation rows: those that are no copies of training rows, one of each group."""
    recipe, task, validation = run.recipe(), predictor.task, data.splits["validation"]
    evaluated = predictor.score(validation)
    rows = new_rows(validation, read_train_texts(run.data))
    how: Any = (recipe.data.group_by,)
    full = take_rows(Scored(task, predictor.label_schema, validation, evaluated, *how), rows)
    outputs = stage.logits(joined_texts(full.examples.columns, task.inputs))
    answered = EvalPredictions(full.examples.columns, full.evaluated.encoded, cast("Any", outputs))
    first = Scored(task, predictor.label_schema, full.examples, answered, *how)
    one, other = judged_answers(first), judged_answers(full)
    groups = full.groups
    drawn = np.arange(len(one)) if groups is None else one_of_each(groups, recipe.seed)
    abstention = predictor.trust.abstention
    given = np.array(
        [abstention is None or abstention.gives(float(it)) for it in other.confidence[drawn]], dtype=bool
    )
    promised = None if abstention is None else abstention.max_error
    return (
        JudgedAnswers(one.confidence[drawn], one.is_right[drawn]),
        FullModel(given, other.is_right[drawn], promised),
    )
