"""The files of a finished run, as the rules of its next steps read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.metrics import METRICS, Metric
from tunesmith.tasks import TASKS, best_metric

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


@dataclass(frozen=True)
class Facts:
    """The files of a run that rules read.

    Args:
        manifest: `manifest.json`.
        metrics: `metrics.json`, with its entry of the training.
        truncation: `data/supervision.json`.
    """

    manifest: JsonObject
    metrics: JsonObject
    truncation: JsonObject

    @property
    def primary(self) -> JsonObject:
        """The score that counts."""
        found: JsonObject = self.metrics["primary"]
        return found

    @property
    def metric(self) -> Metric:
        """Its metric."""
        return METRICS.get(self.primary["name"])

    @property
    def used(self) -> JsonObject:
        """The recipe with every value filled in."""
        found: JsonObject = self.manifest["used"]
        return found

    @property
    def train(self) -> JsonObject:
        """The entry of the training in metrics.json."""
        found: JsonObject = self.metrics["train"]
        return found

    @property
    def best_metric(self) -> str:
        """Name of the metric that chose the best step."""
        return best_metric(TASKS.get(self.metrics["task"]), self.manifest["label_schema"])[0]

    @property
    def learning(self) -> list[tuple[int, float]]:
        """Step and value of every validation, in the metric that chose the best step."""
        name = self.best_metric
        return [(scores["step"], scores[name]) for scores in self.train["history"] if name in scores]

    def learned(self, value: float) -> str:
        """A value of `learning`, for people."""
        return METRICS.get(self.best_metric).shown(value)
