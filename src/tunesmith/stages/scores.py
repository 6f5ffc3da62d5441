"""The model as it was saved, and what it must beat, on the rows that count."""

from __future__ import annotations

from typing import Any

import numpy as np

from tunesmith.acceleration import accelerated
from tunesmith.evaluation.baselines import TrainingRows
from tunesmith.evaluation.result import build_metrics, score_baselines, write_predictions
from tunesmith.evaluation.scoring import Scored
from tunesmith.inference.answering import with_samples
from tunesmith.models.loading import load_trained
from tunesmith.models.resolve import resolve_model
from tunesmith.session import Session
from tunesmith.tasks import EvalPredictions, point_scores


def score_saved(session: Session, baselines: dict[str, dict[str, float]], device: Any) -> dict[str, Any]:
    """Scores the model as it was saved, in full precision, and the baselines on the same rows."""
    how, task, label_schema = session.recipe.evaluate, session.task, session.label_schema
    saved = load_trained(resolve_model(str(session.run.model)), task, device=device)
    saved = accelerated(saved, wanted=session.recipe.train.acceleration)
    name = session.final
    examples = session.data.splits[name]
    evaluated = session.see(name, saved.model)
    evaluated = with_samples(
        task, saved.model, session.tokenizer, evaluated, how.samples, session.max_length, label_schema
    )
    final = Scored(task, label_schema, examples, evaluated, session.recipe.data.group_by)
    write_predictions(session.run, name, final)
    metrics = build_metrics({name: final}, how, session.recipe.seed)
    if how.baselines:
        train = TrainingRows(
            session.data.splits["train"].columns,
            # Noisy copies of the rows, if there are any, come after them.
            session.splits["train"].dense.get("labels", np.empty(0))[: len(session.data.splits["train"])],
            task.inputs,
            int(task.config(label_schema).get("num_labels", 0)),
        )
        # Thresholds come from the validation rows, never from test rows.
        validation = EvalPredictions(session.data.splits["validation"].columns, session.splits["validation"])
        scored = score_baselines(task, train, evaluated, validation, session.data.label_schema) | baselines
        if session.recipe.train.method == "probe":
            scored["probe"] = point_scores(task, evaluated, label_schema)
        baselines = scored
    metrics["baselines"] = baselines
    return metrics
