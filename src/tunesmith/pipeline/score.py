"""Phase 9: the model as it was saved, and the baselines, on the rows that count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tunesmith.acceleration import accelerated
from tunesmith.data.train_texts import read_train_texts
from tunesmith.evaluation.analyses import analyse
from tunesmith.evaluation.answered_rows import AnsweredRows, write_answered_rows
from tunesmith.evaluation.baselines import RowStatistics, TrainingRows
from tunesmith.evaluation.gap import find_gap
from tunesmith.evaluation.result import (
    build_metrics,
    count_training_rows,
    count_wrong,
    score_baselines,
    write_predictions,
)
from tunesmith.evaluation.scoring import Scored
from tunesmith.evaluation.seen import rows_that_count, take_rows
from tunesmith.evaluation.verdict import compare_with_baselines, describe_tests, judge
from tunesmith.models.loading import load_trained
from tunesmith.models.resolve import resolve_model
from tunesmith.pipeline.analysing import SavedAnswers
from tunesmith.pipeline.reference import keep_reference
from tunesmith.pipeline.save import SavedModel
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.trust import fit_trust
from tunesmith.pipeline.work import Work
from tunesmith.pipeline.writing import with_texts
from tunesmith.run import read_json
from tunesmith.tasks import EvalPredictions, point_scores

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def score_saved(
    work: Work, plan: TrainingPlan, saved: SavedModel, baselines: Mapping[str, RowStatistics]
) -> JsonObject:
    """Scores the saved model in full precision, and the baselines on the same rows.

    Args:
        work: what is to be done.
        plan: data and sequences.
        saved: model that is scored.
        baselines: baselines that are scored already, by name.
    """
    how, task, label_schema, name = plan.recipe.evaluate, work.task, saved.label_schema, plan.final_split
    loaded = load_trained(resolve_model(str(work.run.model)), task, device=plan.device)
    loaded = accelerated(loaded, wanted=plan.recipe.train.acceleration)
    answers = SavedAnswers(work, plan, saved, loaded.model)
    evaluated = answers.predict(name)
    evaluated = with_texts(work, plan, loaded.model, evaluated)
    scored = Scored(task, label_schema, plan.data.splits[name], evaluated, plan.recipe.data.group_by)
    rows, seen = rows_that_count(scored, read_train_texts(work.run.data), how, plan.recipe.seed)
    final = take_rows(scored, rows)
    answers.know(final, rows)
    write_predictions(work.run, name, scored, rows, fit_trust(answers).abstention)
    write_answered_rows(work.run.predictions / f"{name}.npz", AnsweredRows.of(scored, rows))
    keep_reference(answers, scored)
    metrics = _describe(work, plan, saved, answers, final, seen)
    metrics = {**metrics, **analyse(answers.answered(metrics))}
    if how.baselines:
        known = {baseline: found.of_rows(rows) for baseline, found in baselines.items()}
        baselines = _score_baselines(work, plan, saved, final.evaluated) | known
    if plan.frozen_cache is not None:
        plan.frozen_cache.close()
    is_probe = plan.recipe.train.method == "probe"
    scores = {baseline: found.scores() for baseline, found in baselines.items()}
    if is_probe and how.baselines:
        scores["probe"] = point_scores(task, final.evaluated, label_schema)
    tests = compare_with_baselines(final, baselines, how, plan.recipe.seed)
    return {
        **metrics,
        "baselines": scores,
        **({"paired_tests": describe_tests(final, tests, how, split=name)} if tests else {}),
        "verdict": judge(final, tests, split=name, what="the probe" if is_probe else "fine-tuning"),
    }


def _describe(
    work: Work,
    plan: TrainingPlan,
    saved: SavedModel,
    answers: SavedAnswers,
    final: Scored,
    seen: JsonObject | None,
) -> JsonObject:
    """The scores of the rows that count, and what qualifies them."""
    state = saved.fitted.state
    metrics = build_metrics(final, plan.final_split, plan.recipe.evaluate, plan.recipe.seed, seen=seen)
    train = plan.data.splits["train"].columns
    metrics["details"] = count_training_rows(work.task, train, saved.label_schema, metrics["details"])
    n_validation = len(plan.data.splits["validation"])
    history = state.history or _validation_alone(answers, state.best_step)
    gap = find_gap(metrics, history, state.best_step, n_validation, _shifts(work))
    n_wrong = count_wrong(final)
    return {
        **metrics,
        **({} if n_wrong is None else {"wrong_rows": n_wrong}),
        **({} if gap is None else {"validation_gap": gap}),
    }


def _validation_alone(answers: SavedAnswers, step: int) -> list[JsonObject]:
    """The validation scores of a model that was found without steps."""
    scored = answers.scored("validation")
    if scored is None:
        return []
    return [{"step": step, **point_scores(scored.task, scored.evaluated, scored.label_schema)}]


def _shifts(work: Work) -> list[str]:
    """How test rows differ from training rows, as the check of the data has found it."""
    path = work.run.data / "check.json"
    findings = read_json(path)["findings"] if path.is_file() else []
    return [it["text"] for it in findings if it["check"] == "shift" and it["evidence"]["split"] == "test"]


def _score_baselines(
    work: Work, plan: TrainingPlan, saved: SavedModel, evaluated: EvalPredictions
) -> dict[str, RowStatistics]:
    rows, task = plan.data.splits["train"], work.task
    train = TrainingRows(
        rows.columns,
        plan.encoded.labels_of(rows),
        task.inputs,
        int(task.config(saved.label_schema).get("num_labels", 0)),
    )
    # Thresholds come from the validation rows, never from test rows.
    validation = EvalPredictions(plan.data.splits["validation"].columns, plan.splits["validation"])
    return score_baselines(task, train, evaluated, validation, plan.data.label_schema)
