"""What the training of a base model takes on this machine, measured on a few layers of its architecture.

A model of the same config with one and with a few layers, and random weights, trains on batches of the user's
rows, by the code of the training loop. Time and activations are linear in the number of equal layers, and in the
size of the vocabulary where the output layer is trained, so they are extrapolated; weights, gradients and moments
are counted. Measurements are kept in the cache, by machine, versions, shape and lengths.
`benchmarks/model_costs.py` compares with whole trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.errors import RecipeError
from tunesmith.models.memory import Activations, Memory, free_memory
from tunesmith.pipeline.cost_points import Point, Trial, measure_point
from tunesmith.pipeline.reduced_models import Counts, ReducedModels
from tunesmith.pipeline.sample_rows import SampleRows
from tunesmith.recipe import Recipe
from tunesmith.tasks import Task
from tunesmith.training.micro_batches import choose_micro_batch, token_ids
from tunesmith.training.plan import Plan
from tunesmith.training.resolving import resolve_training
from tunesmith.training.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.encoded import Encoded
    from tunesmith.models.catalogue import KnownModel
    from tunesmith.pipeline.sample_rows import Sequences
    from tunesmith.types import JsonObject, Model

MEASURED = "measured"
_BESIDES = 3
"""Copies of what is trained besides the weights: gradients and two moments."""
_FEW_TOKENS = 1_000
"""Rows of a token table that are taken as trained where nothing is measured."""


@dataclass(frozen=True)
class Cost:
    """What a training of all weights takes.

    Args:
        epoch_s: seconds of the steps of one epoch, without evaluations.
        epochs: passes over the data that `auto` chooses.
        memory: bytes of weights, gradients, moments, activations, and what libraries usually use.
        fits: whether as much is free as a training needs at most.
        notes: what must be said of it.
        source: `measured`, or the id of the model from whose measurement it is estimated.
        operations: operations for each token of a pass, for estimates of other models.
        weights: bytes of the weights.
        trained: bytes of those that are trained.
    """

    epoch_s: float
    epochs: float
    memory: int
    fits: bool
    notes: tuple[str, ...] = ()
    source: str = MEASURED
    operations: float = 0.0
    weights: int = 0
    trained: int = 0

    def scaled(self, size: Counts, *, source: str) -> Cost:
        """An estimate for another model: time by its operations, activations by their square root.

        Args:
            size: what is counted of the other model.
            source: id of the model that this is the cost of.
        """
        ratio = size.operations / self.operations
        rest = max(0, self.memory - self.weights - _BESIDES * self.trained)
        memory = round(size.weights + _BESIDES * size.trainable + rest * ratio**0.5)
        return replace(
            self,
            epoch_s=self.epoch_s * ratio,
            memory=memory,
            fits=memory < free_memory(),
            notes=(),
            source=source,
            operations=size.operations,
            weights=size.weights,
            trained=size.trainable,
        )

    def to_json(self) -> JsonObject:
        """The entry for `--json`."""
        return {
            "epoch_s": round(self.epoch_s, 2),
            "epochs": self.epochs,
            "training_s": round(self.epoch_s * self.epochs, 1),
            "memory_bytes": self.memory,
            "fits": self.fits,
            "source": self.source,
        }


class CostMeter:
    """Measures what models cost for a task, its rows and this machine.

    Args:
        recipe: recipe with the data and everything that is not `auto`.
        rows: sample of the training rows.
        device: type of the device: `cpu`, `cuda`, ….
        bf16: whether training computes in bfloat16.
        machine: facts of machine and versions, for the cache.
    """

    def __init__(
        self, recipe: Recipe, rows: SampleRows, *, device: str, bf16: bool, machine: Mapping[str, object]
    ) -> None:
        self.recipe, self.rows, self.device, self.bf16 = recipe, rows, device, bf16
        self.machine = machine
        self._known: dict[str, Cost] = {}

    def cost(self, known: KnownModel, task: Task) -> Cost:
        """The cost of the whole training of a model.

        Args:
            known: facts of the model.
            task: task as this model learns it.
        """
        models = self._reduced(known, task)
        signature = models.signature()
        if signature not in self._known:
            self._known[signature] = _measure(self, models)
        same, weights = self._known[signature], models.counts.weights
        return replace(same, memory=same.memory + weights - same.weights, weights=weights)

    def size(self, known: KnownModel, task: Task) -> Counts:
        """What is counted of a model, with nothing measured.

        Args:
            known: facts of the model.
            task: task as this model learns it.
        """
        models = self._reduced(known, task)
        return replace(models.counts, trainable=models.trained_bytes(np.arange(_FEW_TOKENS)))

    def _reduced(self, known: KnownModel, task: Task) -> ReducedModels:
        tokenizer = self.rows.tokenizer(known, task)
        return ReducedModels(known, task, self.rows.label_schema, tokenizer, self.recipe.train, self.device)


def _measure(meter: CostMeter, models: ReducedModels) -> Cost:
    """Measures the reduced models, or takes from the cache what was measured, and extrapolates."""
    base = models.build(models.first)
    found = meter.rows.sequences(models.known, models.task, models.tokenizer, models.config, base)
    used = _used_ids(models, found.encoded)
    recipe, plan, settings = _resolve(meter, models, base, found)
    trial = Trial(models.within(found.encoded), plan, settings, meter.machine)
    points = [measure_point(models, models.first, trial, base)]
    del base
    axes = list(models.axes())
    points += [measure_point(models, axis.size, trial) for axis in axes]
    whole = _Whole(points, [axis.times for axis in axes])
    trained = models.trained_bytes(used)
    memory = whole.memory(models.counts.weights, trained, meter.device)
    tokens, fits, notes = _passes(meter, models, recipe, plan, memory)
    return Cost(
        (whole.gradient_s + whole.update_s(trained)) * plan.first_epoch_steps,
        float(recipe.train.num_train_epochs),
        memory.usual(tokens, plan.longest, bf16=meter.bf16),
        fits,
        tuple(notes),
        operations=models.counts.operations,
        weights=models.counts.weights,
        trained=trained,
    )


def _used_ids(models: ReducedModels, encoded: Encoded) -> NDArray[np.int64] | None:
    blocks = token_ids(models.task, encoded, models.tokenizer.pad_token_id)
    return None if blocks is None else np.unique(np.concatenate([np.unique(block) for block in blocks]))


def _resolve(
    meter: CostMeter, models: ReducedModels, base: Model, found: Sequences
) -> tuple[Recipe, Plan, Settings]:
    """What `auto` becomes, and the plan of a training on all rows: the lengths of the sample, again and again."""
    lengths = np.resize(found.encoded.lengths, found.n_total)
    recipe = meter.recipe.replace(train={"tokens_per_micro_batch": "auto"})
    return resolve_training(
        recipe, lengths, base, models.task, max_length=found.max_length, bf16=meter.bf16, world=1
    )


def _passes(
    meter: CostMeter, models: ReducedModels, recipe: Recipe, plan: Plan, memory: Memory
) -> tuple[int, bool, list[str]]:
    """Tokens of a pass, whether the training fits, and what is said of it."""
    whole = models.task.compares_rows
    try:
        tokens, notices = choose_micro_batch(
            recipe, plan, memory, world=1, device=meter.device, prefer_whole=whole
        )
    except RecipeError as error:
        return plan.longest, False, [error.rule]
    return min(tokens, plan.most_tokens(recipe.train.gradient_accumulation_steps)), True, notices


@dataclass(frozen=True)
class _Whole:
    """The whole model, extrapolated.

    Args:
        points: the smallest model, and a larger one for each axis.
        times: how often each axis fits into what is left.
    """

    points: Sequence[Point]
    times: Sequence[float]

    @property
    def gradient_s(self) -> float:
        """Seconds of the passes of a step."""
        return self._of(lambda point: point.gradient_s)

    def update_s(self, trained_bytes: int) -> float:
        """Seconds of an update, by the slowest rate that was measured: small tensors fit into the caches."""
        return max(point.update_s / point.trainable for point in self.points) * trained_bytes

    def memory(self, weights: int, trained: int, device: str) -> Memory:
        """The memory of the training, as `models/memory.py` describes it.

        Args:
            weights: bytes of the weights.
            trained: bytes of those that are trained.
            device: type of the device.
        """
        import torch

        large, twice = self._of(lambda point: point.large), self._of(lambda point: point.twice)
        a_token = max(0.0, twice - large) / self.points[0].tokens
        once = large - a_token * self.points[0].tokens
        least = max(point.least for point in self.points)  # whatever the number of tokens
        activations = Activations(np.array([once, least]), np.array([a_token, 0.0]), np.zeros(2))
        free, base = free_memory(torch.device(device)) - weights, self.points[0]
        return Memory(
            weights, trained, (_BESIDES - 1) * trained, activations, free, base.libraries, base.gaps
        )

    def _of(self, value: Callable[[Point], float]) -> float:
        first = value(self.points[0])
        rest = zip(self.points[1:], self.times, strict=True)
        return first + sum(max(0.0, value(point) - first) * times for point, times in rest)
