"""How it learned: the training loss, and the metric that chose the best step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.metrics import METRICS
from tunesmith.reports.charts import learning_curves
from tunesmith.reports.sections import Section, Source
from tunesmith.tasks import best_metric

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    if "train" not in source.metrics:
        return None
    name, _ = best_metric(source.task, source.manifest["label_schema"])
    charts = learning_curves(source.run.events(), METRICS.get(name), source.metrics["train"]["best_step"])
    return {"charts": charts} if charts else None


section = Section("How it learned", 30, _facts)
