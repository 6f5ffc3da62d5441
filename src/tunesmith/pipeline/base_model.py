"""Phase 5: the model as it is before the training: its likelihoods, its scores, and what it forbids."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.errors import RecipeError
from tunesmith.evaluation.baselines import RowStatistics, own_statistics
from tunesmith.metrics import Statistics
from tunesmith.models.generation import allow_tokens
from tunesmith.pipeline.harm import harm_before
from tunesmith.pipeline.predict_split import predict_split
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.pipeline.writing import general_before, keep_base_texts
from tunesmith.training.reference import load_reference, save_reference, with_reference

if TYPE_CHECKING:
    from tunesmith.types import Array

BASE_MODEL = "base_model"
"""The name of this baseline, and of its entry in the manifest."""
_LABEL_SCHEMA = "base_model_label_schema"


def with_reference_of_base(work: Work, plan: TrainingPlan) -> TrainingPlan:
    """Where the loss compares with the base model: the plan with its likelihoods beside every sequence."""
    if not work.task.reference:
        return plan
    splits = dict(plan.splits)
    for name, encoded in plan.splits.items():
        file = work.run.checkpoints / f"reference-{name}.safetensors"
        reference = load_reference(file, work.run.run_id)
        if reference is None:
            # In the arithmetic of the passes that it is compared with: evaluations are in full precision.
            bf16 = plan.settings.bf16 and name == "train"
            reference = np.asarray(predict_split(work, plan, name, with_texts=False, bf16=bf16).outputs)
            if work.processes.is_first:
                save_reference(file, reference, work.run.run_id)
        splits[name] = with_reference(encoded, reference)
    return replace(plan, encoded=replace(plan.encoded, splits=splits))


def score_base_model(work: Work, plan: TrainingPlan) -> dict[str, RowStatistics]:
    """The base model on the rows that count, where the task wants it beside the result."""
    general_before(work, plan)
    harm_before(work, plan)
    is_wanted = BASE_MODEL in work.task.baselines and plan.recipe.evaluate.baselines
    if not is_wanted or not work.processes.is_first:
        return {}
    file = work.run.checkpoints / f"{BASE_MODEL}.safetensors"
    statistics = load_reference(file, work.run.run_id)
    if statistics is None:
        final = predict_split(work, plan, plan.final_split)
        keep_base_texts(work, plan, final)
        found = own_statistics(
            work.task, final, lambda: predict_split(work, plan, "validation"), plan.data.label_schema
        )
        statistics = _dense(found.statistics)
        work.run.update_manifest(**{BASE_MODEL: found.scores(), _LABEL_SCHEMA: found.label_schema})
        save_reference(file, statistics, work.run.run_id)  # last: who finds it finds the other entries, too
    known = RowStatistics(work.task, statistics, work.run.manifest()[_LABEL_SCHEMA])
    return {BASE_MODEL: known}


def _dense(statistics: Statistics) -> Array:
    return np.asarray(statistics.toarray() if hasattr(statistics, "toarray") else statistics)


def allow_targets(work: Work, plan: TrainingPlan) -> None:
    """Makes every token of the training targets possible, so that the model can write what it learns.

    Raises:
        RecipeError: the model forbids some, and only an adapter is trained.
    """
    if not work.task.generation:
        return
    train = plan.splits["train"].ragged
    labels = train["decoder_labels" if "decoder_labels" in train else "labels"].values
    banned = allow_tokens(plan.model, labels[labels >= 0])
    if banned and plan.opened.adapter is not None:
        raise RecipeError(
            f"the model forbids {len(banned)} tokens of the targets, and an adapter cannot allow them.",
            remedy="Use `train.method=full`.",
        )
    if banned:
        named = " ".join(plan.tokenizer.convert_ids_to_tokens(banned))
        work.events.warn(f"the model forbids {len(banned)} tokens of the targets; now allowed: {named}")
