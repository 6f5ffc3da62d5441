"""Phase 8: what is fitted on the validation rows is fitted, and the model is written."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.models.saving import save_model
from tunesmith.pipeline.fit import FittedModel
from tunesmith.pipeline.predict_split import predict_split
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.tasks import LabelSchema


@dataclass(frozen=True)
class SavedModel:
    """A model in `RUN/model`.

    Args:
        fitted: model that was saved.
        label_schema: label schema with the fitted thresholds.
    """

    fitted: FittedModel
    label_schema: LabelSchema


def save(work: Work, plan: TrainingPlan, fitted: FittedModel) -> SavedModel:
    """Fits thresholds where the task has some, and writes the model."""
    task, model = work.task, plan.model
    label_schema = _with_thresholds(work, plan, fitted)
    if label_schema != plan.data.label_schema:
        model.config.update(task.config(label_schema))
        work.run.update_manifest(label_schema=label_schema)
    save_model(
        model.cpu(),
        plan.tokenizer,
        work.run.model,
        max_length=plan.encoded.max_length,
        adapter=plan.opened.adapter,
    )
    return SavedModel(fitted, label_schema)


def _with_thresholds(work: Work, plan: TrainingPlan, fitted: FittedModel) -> LabelSchema:
    if work.task.thresholds is None:
        return plan.data.label_schema
    evaluated = predict_split(work, plan, "validation", features=fitted.features, with_texts=False)
    return work.task.thresholds.fit(evaluated, plan.data.label_schema)
