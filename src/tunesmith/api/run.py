"""A run as people hold it: what `train` returns, and `tunesmith.Run("runs/reviews")`."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tunesmith import run as folders
from tunesmith.api import using
from tunesmith.api.shown import Metrics, Report
from tunesmith.metrics import METRICS

if TYPE_CHECKING:
    from tunesmith.data.formats.memory import Held
    from tunesmith.inference.predictor import Predictor
    from tunesmith.types import JsonObject


class Run(folders.Run):
    """One run folder, and what can be done with it. Whatever takes the path of a run takes this object.

    Args:
        path: folder of the run.
        held: objects in memory that the run was trained with, which stay sources as long as this object lives.
    """

    def __init__(self, path: str | os.PathLike[str], held: Sequence[Held] = ()) -> None:
        super().__init__(path)
        self._held = tuple(held)

    @property
    def metrics(self) -> Metrics:
        """The content of `metrics.json`: a mapping that shows itself as a table."""
        return Metrics(super().metrics)

    @property
    def report(self) -> Report:
        """The report, which a notebook shows; `run.report.open()` opens the browser."""
        return Report(self.report_file)

    @cached_property
    def predictor(self) -> Predictor:
        """The predictor of the run, loaded once.

        Raises:
            RunError: the run has not come to its end.
        """
        return using.load(self)

    def predict(self, data: Any, *, top_k: int | None = 1, coverage: float | None = None) -> Any:
        """Answers; see `tunesmith.predict`."""
        return self.predictor(data, top_k=top_k, coverage=coverage)

    def embed(self, data: Any, *, normalize: bool = False) -> Any:
        """Vectors; see `tunesmith.embed`."""
        return self.predictor.embed(data, normalize=normalize)

    def evaluate(self, data: Any, **how: Any) -> Metrics:
        """Scores on other data; see `tunesmith.evaluate` for the keywords."""
        return using.evaluate(self, data, **how)

    def export(self, to: str, **how: Any) -> JsonObject:
        """The run in another format; see `tunesmith.export` for the keywords."""
        return using.export(self, to, **how)

    def __repr__(self) -> str:
        return f"<Run {self.path}: {self._sentence()}>"

    def _repr_html_(self) -> str:
        path = html.escape(str(self.path))
        if not self.is_finished:
            return f"run <code>{path}</code>: {html.escape(self._sentence())}"
        return (
            f"<b>{html.escape(self.recipe().task)}</b> in <code>{path}</code>{self.metrics._repr_html_()}"
            "<p><code>run.report</code> shows the report, <code>run.predict(texts)</code> gives answers.</p>"
        )

    def _sentence(self) -> str:
        """The state of the run in a line."""
        if not self.manifest_file.is_file():
            return "no run is there"
        if not self.is_finished:
            return "it has not come to its end; the same training resumes it"
        primary = super().metrics["primary"]
        metric = METRICS.get(primary["name"])
        value, low, high = (metric.shown(primary[key]) for key in ("value", "low", "high"))
        return (
            f"{self.recipe().task}, {metric.label} {value} ({low} to {high}) on {primary['n']:,} "
            f"{primary['split']} rows"
        )
