"""How well the frozen features of base models suit a task: a linear probe on a sample of the rows, with intervals.

It is the probe with which a training starts. A model whose features separate the classes well is usually also the
better one after fine-tuning (Renggli et al. 2022, arXiv 2010.06402, compare such scores), and it takes one
forward pass.
"""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.acceleration.bf16 import bf16_is_faster
from tunesmith.data.examples import Examples
from tunesmith.data.preparing import PreparedData
from tunesmith.evaluation.baselines import own_statistics
from tunesmith.evaluation.intervals import Method, intervals
from tunesmith.events import Events
from tunesmith.models.resolve import ModelFiles
from tunesmith.pipeline.encode import encode
from tunesmith.pipeline.open_model import open_model
from tunesmith.pipeline.probe import FeaturesOf
from tunesmith.pipeline.work import Work
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.tasks import EvalPredictions, LabelSchema, Task
from tunesmith.training.loop import never
from tunesmith.training.probe import fit_probe, probe_answers
from tunesmith.training.processes import Processes

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_TRAIN_ROWS, _VALIDATION_ROWS = 2_000, 1_000


@dataclass(frozen=True)
class ProbeScore:
    """The score of a probe on validation rows, which also chose its regularisation.

    Args:
        metric: primary metric of the task.
        value, low, high: score and its interval.
        n: number of validation rows.
    """

    metric: str
    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> JsonObject:
        """The entry for `--json`."""
        return {"metric": self.metric, "value": self.value, "low": self.low, "high": self.high, "n": self.n}


def why_not_probed(task: Task) -> str:
    """Why there is no probe for a task; empty where there is one."""
    if task.probe is not None:
        return ""
    return f"{task.name} has no linear head that could be fitted on frozen features"


def sample_for_probe(data: PreparedData, seed: int) -> PreparedData:
    """The data with at most so many rows that a probe takes seconds; the same rows for each model."""
    most = {"train": _TRAIN_ROWS, "validation": _VALIDATION_ROWS}
    return replace(data, splits={name: _some(data.splits[name], n, seed) for name, n in most.items()})


def _some(rows: Examples, n: int, seed: int) -> Examples:
    if len(rows) <= n:
        return rows
    return rows.take(np.sort(np.random.default_rng(seed).choice(len(rows), n, replace=False)))


def probe_model(recipe: Recipe, task: Task, files: ModelFiles, data: PreparedData) -> ProbeScore:
    """Opens a model, encodes the rows, and scores a linear head on its frozen features.

    Args:
        recipe: recipe, of which the data and the pooling are used.
        task: task as the model learns it; it has a probe.
        files: files of the model.
        data: rows, see `sample_for_probe`.

    Raises:
        UserError: the model does not fit the task.
    """
    recipe = recipe.model_copy(update={"model": files.name})
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Run(folder), task, recipe, recipe, Events(), False, Processes(), never)
        opened = open_model(work, files, data)
        encoded = encode(work, opened)
        device = work.processes.accelerator.device
        opened.model.to(device)
        bf16 = bf16_is_faster(device.type) if recipe.train.bf16 == "auto" else recipe.train.bf16
        features = FeaturesOf(
            work, opened, encoded, lambda split: nullcontext(encoded.splits[split]), lambda split: bf16
        )
        rows = EvalPredictions(data.splits["validation"].columns, encoded.splits["validation"])
        schema = data.label_schema
        head = fit_probe(
            task, schema, (features["train"], encoded.splits["train"]), (features["validation"], rows)
        )
        answered = probe_answers(head, features["validation"], rows)
        return _scored(recipe, task, answered, schema)


def _scored(recipe: Recipe, task: Task, answered: EvalPredictions, schema: LabelSchema) -> ProbeScore:
    how = recipe.evaluate
    scored = own_statistics(task, answered, lambda: answered, schema)
    found = intervals(
        scored.statistics,
        lambda sums: task.formula(sums, scored.label_schema),
        task.shares(scored.label_schema),
        Method(how.bootstrap_samples, how.confidence, recipe.seed),
    )
    metric = task.primary_for(schema)
    score = found[metric]
    return ProbeScore(metric, score.value, score.low, score.high, answered.encoded.n_rows)
