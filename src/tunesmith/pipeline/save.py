"""Phase 8: what is fitted on the validation rows is fitted, and the model is written.

The head is calibrated first, so that what is fitted later on the validation rows (thresholds of scores, offsets
for rare labels) reads calibrated scores. Validation rows that are copies of training rows are left out: on them,
the model is right more often than on new rows, so its scores would promise too much.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tunesmith.data.train_texts import read_train_texts
from tunesmith.evaluation.scoring import Scored
from tunesmith.evaluation.seen import new_rows, take_rows
from tunesmith.models import heads
from tunesmith.models.saving import save_model
from tunesmith.pipeline.calibrating import calibrate
from tunesmith.pipeline.deciding import decide
from tunesmith.pipeline.fit import FittedModel
from tunesmith.pipeline.predict_split import predict_split
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.tasks import LabelSchema
from tunesmith.training.calibration import Calibrated

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tunesmith.types import Model


@dataclass(frozen=True)
class SavedModel:
    """A model in `RUN/model`.

    Args:
        fitted: model that was saved.
        label_schema: label schema with the fitted thresholds.
        validation_rows: numbers of the validation rows that something is fitted on: those not trained on.
    """

    fitted: FittedModel
    label_schema: LabelSchema
    validation_rows: NDArray[np.int64]


def save(work: Work, plan: TrainingPlan, fitted: FittedModel) -> SavedModel:
    """Fits thresholds where the task has some, calibrates the head, and writes the model."""
    task, model = work.task, plan.model
    rows = new_rows(plan.data.splits["validation"], read_train_texts(work.run.data))
    label_schema, calibrated = _fit_on_validation_rows(work, plan, fitted, rows)
    if label_schema != plan.data.label_schema:
        model.config.update(task.config(label_schema))
        work.run.update_manifest(label_schema=label_schema)
    if calibrated is not None:
        work.run.update_manifest(calibration=calibrated.to_json())
    _describe_head(model, calibrated)
    save_model(
        model.cpu(),
        plan.tokenizer,
        work.run.model,
        max_length=plan.encoded.max_length,
        adapter=plan.opened.adapter,
    )
    return SavedModel(fitted, label_schema, rows)


def _fit_on_validation_rows(
    work: Work, plan: TrainingPlan, fitted: FittedModel, rows: NDArray[np.int64]
) -> tuple[LabelSchema, Calibrated | None]:
    """The label schema with thresholds, and how the head was calibrated, where the task's answers have scores."""
    task, label_schema = work.task, plan.data.label_schema
    if task.thresholds is None and task.calibration is None and task.decision is None:
        return label_schema, None
    evaluated = predict_split(work, plan, "validation", features=fitted.features, with_texts=False)
    examples, group_by = plan.data.splits["validation"], plan.recipe.data.group_by
    scored = take_rows(Scored(task, label_schema, examples, evaluated, group_by), rows)
    if task.thresholds is not None:
        label_schema = task.thresholds.fit(scored.evaluated, label_schema)
    calibrated = None
    if task.calibration is not None:
        calibrated = calibrate(work, plan, replace(scored, label_schema=label_schema))
        if task.thresholds is not None and not calibrated.scaling.is_identity:
            label_schema = task.thresholds.moved(label_schema, calibrated.scaling)
        scored = replace(scored, evaluated=calibrated.scaling.applied(scored.evaluated))
    return decide(work, plan, replace(scored, label_schema=label_schema)), calibrated


def _describe_head(model: Model, calibrated: Calibrated | None) -> None:
    """States in config.json what the head holds."""
    if calibrated is None or calibrated.method == "none":
        heads.forget_calibration(model.config)
        return
    entry = {"method": calibrated.method, **calibrated.scaling.to_json()}
    setattr(model.config, heads.CALIBRATION_KEY, entry)
