"""What the training of a base model takes on this machine, measured on a few layers of its architecture.

A model of the same config with one and with a few layers, and random weights, trains on batches of the user's
rows, by the code of the training loop. Time and activations are linear in the number of equal layers, and in the
size of the vocabulary where the output layer is trained, so they are extrapolated; weights, gradients and moments
are counted. Measurements are kept in the cache, by machine, versions, shape and lengths.
`benchmarks/model_costs.py` compares with whole trainings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.cache import cache_folder, new_entry, open_entry, remove_old
from tunesmith.encoded import Encoded, Ragged
from tunesmith.errors import RecipeError
from tunesmith.models import heads
from tunesmith.models.attention import SHORT_TEXT_TOKENS, choose_attention
from tunesmith.models.from_config import build, config_for, layer_counts, layer_cycle, reduced
from tunesmith.models.memory import Activations, Memory
from tunesmith.pipeline.sample_rows import SampleRows, Sequences
from tunesmith.recipe import Recipe
from tunesmith.tasks import Task, head_scale
from tunesmith.training.job import Job
from tunesmith.training.micro_batches import choose_micro_batch, measure_training, token_ids
from tunesmith.training.plan import Plan
from tunesmith.training.resolving import resolve_training
from tunesmith.training.settings import Settings
from tunesmith.training.step_cost import time_steps

if TYPE_CHECKING:
    from tunesmith.models.catalogue import KnownModel
    from tunesmith.types import Config, JsonObject, Model

MEASURED = "measured"
_FOLDER, _FORMAT = "model-costs", 1
_LANGUAGE_MODELS = ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM", "AutoModelForMaskedLM")
_WHOLE_TABLE, _PART_OF_TABLE, _LEAST_VOCABULARY = 32_000_000, 16_000_000, 8_192
"""Weights of the largest token table that is built as it is; of the part that is built of a larger one."""
_TIMED_BATCHES = 4
_TIMED_TOKENS = 2_048
_TIMED_OPERATIONS = {"cpu": 40e9, "cuda": 40e12}
"""Operations of a timed step: about a quarter of a second on two cores."""
_OPERATIONS_PER_WEIGHT = 6
_MOST_USED = 0.5
_LIKELY_OVERHEAD = {"float32": 0.15, "bfloat16": 0.5}
"""The part of the overhead that trainings needed (benchmarks/model_costs.py, docs/performance.md): products in bfloat16
leave blocks in the heap for every shape, those in float32 almost none. Whether a training fits is decided by all of it.
"""


@dataclass(frozen=True)
class Cost:
    """What a training takes.

    Args:
        epoch_s: seconds of the steps of one epoch, without evaluations.
        epochs: passes over the data that `auto` chooses.
        memory: bytes of weights, gradients, moments, activations, and what libraries usually use.
        fits: whether as much is free as a training needs at most.
        notes: what must be said of it.
        source: `measured`, or the id of the model from whose measurement it is estimated.
        operations: operations for each token of a pass, for estimates of other models.
        weights: bytes of the weights.
    """

    epoch_s: float
    epochs: float
    memory: int
    fits: bool
    notes: tuple[str, ...] = ()
    source: str = MEASURED
    operations: float = 0.0
    weights: int = 0

    def scaled(self, operations: float, weights: int, *, source: str) -> Cost:
        """An estimate for another model: time by the operations, activations by their square root.

        Args:
            operations: operations for each token of the other model.
            weights: bytes of its weights.
            source: id of the model that this is the cost of.
        """
        from tunesmith.models.memory import free_memory

        ratio = operations / self.operations
        memory = self.memory * weights / self.weights if ratio <= 0 else (
            4 * weights + max(0, self.memory - 4 * self.weights) * ratio**0.5
        )  # fmt: skip
        return replace(
            self,
            epoch_s=self.epoch_s * ratio,
            memory=round(memory),
            fits=memory < free_memory(),
            notes=(),
            source=source,
            operations=operations,
            weights=weights,
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


@dataclass(frozen=True)
class Point:
    """The measurement of one reduced model.

    Args:
        gradient_s: seconds of the forward and backward passes of a step, the mean over the steps of an epoch.
        update_s: seconds of an update of its parameters.
        trainable: bytes of the parameters that are updated.
        short, long: bytes of activations in a pass of the longest sequence, and of two of them.
        libraries: bytes that libraries use besides tensors.
        gaps: what the allocator leaves unused, as a share of the tensors' bytes.
    """

    gradient_s: float
    update_s: float
    trainable: int
    short: int
    long: int
    libraries: int
    gaps: float


@dataclass(frozen=True)
class _Counts:
    """What is counted of the whole model: bytes, and operations for each token."""

    weights: int
    trainable: int
    operations: float


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
        """The cost of the whole training of a model's weights.

        Args:
            known: facts of the model.
            task: task as this model learns it.
        """
        measurement = _Measurement(self, known, task)
        signature = measurement.signature()
        if signature not in self._known:
            self._known[signature] = measurement.cost()
        same = self._known[signature]
        weights = measurement.counts.weights
        return replace(same, memory=same.memory + weights - same.weights, weights=weights)

    def operations(self, known: KnownModel, task: Task) -> tuple[float, int]:
        """Operations for each token of a pass, and bytes of the weights; both are counted, and nothing is measured."""
        counts = _Measurement(self, known, task).counts
        return counts.operations, counts.weights


class _Measurement:
    """The measurement of one model."""

    def __init__(self, meter: CostMeter, known: KnownModel, task: Task) -> None:
        self.meter, self.known, self.task = meter, known, task
        entries = task.config(meter.rows.label_schema)
        self.tokenizer = meter.rows.tokenizer(known, task)
        self.config = config_for(known.config, entries, self.tokenizer.pad_token_id)
        self.is_language_model = task.auto_class in _LANGUAGE_MODELS
        self.layers = layer_counts(self.config)
        self.width = int(build(self._one_layer(_LEAST_VOCABULARY), task, without_weights=True)
                         .get_input_embeddings().weight.shape[1])  # fmt: skip
        self.counts = self._count()

    def signature(self) -> str:
        """What models have in common that cost the same: all but the rows of a token table that are not trained."""
        config = self.config.to_dict()
        if not self.is_language_model:
            config["vocab_size"] = min(int(self.config.vocab_size), self._first_sizes()[1])
        same = [self.task.name, self.task.auto_class, config, id(self.tokenizer), self.known.context]
        return json.dumps(same, sort_keys=True, default=str)

    def cost(self) -> Cost:
        """Measures the model, or takes from the cache what was measured."""
        counts = self.counts
        base = self._small(*self._first_sizes())
        sequences = self._sequences(base)
        recipe, plan, settings = self._resolve(base, sequences)
        counts = self._with_used_rows(counts, sequences.encoded)
        points = self._points(base, sequences, plan, settings)
        gradient_s = self._extrapolated(points, lambda point: point.gradient_s)
        update_s = max(point.update_s / point.trainable for point in points.values()) * counts.trainable
        memory = self._memory(points, counts, plan)
        epochs = float(recipe.train.num_train_epochs)
        tokens, fits, notes = self._passes(recipe, plan, memory)
        return Cost(
            (gradient_s + update_s) * plan.first_epoch_steps,
            epochs,
            memory.total(tokens, plan.longest) - self._unlikely(memory, tokens, plan.longest),
            fits,
            tuple(notes),
            operations=counts.operations,
            weights=counts.weights,
        )

    # ---- shapes ----

    def _one_layer(self, vocabulary: int) -> Config:
        return reduced(self.config, dict.fromkeys(self.layers, 1), vocabulary)

    def _first_sizes(self) -> tuple[dict[str, int], int]:
        """Layers and vocabulary of the smallest model that is measured."""
        whole, layers = int(self.config.vocab_size), dict.fromkeys(self.layers, 1)
        part = max(_LEAST_VOCABULARY, _PART_OF_TABLE // self.width)
        if self.is_language_model and whole * self.width <= _WHOLE_TABLE:
            part = whole
        # Masks are drawn from the tokens of the whole tokenizer.
        least = len(self.tokenizer) if self.task.masking is not None else 0
        return layers, max(min(whole, part), least)

    def _axes(self) -> dict[str, tuple[dict[str, int], int, float]]:
        """What is made larger, one thing at a time: layers, vocabulary, and how often that step fits the rest."""
        layers, vocabulary = self._first_sizes()
        step = max(2, layer_cycle(self.config))
        groups = (
            [list(self.layers)] if len(set(self.layers.values())) == 1 else [[name] for name in self.layers]
        )
        axes = {}
        for names in groups:
            more = {**layers, **dict.fromkeys(names, 1 + step)}
            axes["+".join(names)] = (more, vocabulary, (self.layers[names[0]] - 1) / step)
        if self.is_language_model and vocabulary < self.config.vocab_size:
            rest = self.config.vocab_size - vocabulary
            axes["vocabulary"] = (layers, vocabulary + min(vocabulary, rest), rest / min(vocabulary, rest))
        return axes

    def _small(self, layers: Mapping[str, int], vocabulary: int) -> Model:
        """A reduced model on its device, as a training has it."""
        import torch

        from tunesmith.acceleration import accelerate

        train = self.meter.recipe.train
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = build(
                reduced(self.config, layers, vocabulary), self.task, adds_pooling=train.pooling != "first"
            )
        if train.acceleration:
            accelerate(model)
        model.to(self.meter.device)
        if (head := self._head(model)) is not None:
            heads.keep_head_precise(head)
        return model

    def _head(self, model: Model):  # type: ignore[no-untyped-def]
        entries = self.task.config(self.meter.rows.label_schema)
        return heads.find_head(model, entries["num_labels"]) if "num_labels" in entries else None

    # ---- sequences and plan ----

    def _sequences(self, model: Model) -> Sequences:
        found = self.meter.rows.sequences(self.known, self.task, self.tokenizer, self.config, model)
        return replace(found, encoded=_within(found.encoded, len(model.get_input_embeddings().weight), self))

    def _resolve(self, model: Model, sequences: Sequences) -> tuple[Recipe, Plan, Settings]:
        lengths = np.resize(sequences.encoded.lengths, sequences.n_total)
        recipe = self.meter.recipe.replace(train={"tokens_per_micro_batch": "auto"})
        return resolve_training(
            recipe, lengths, model, self.task, max_length=sequences.max_length, bf16=self.meter.bf16, world=1
        )

    def _unlikely(self, memory: Memory, tokens: int, longest: int) -> int:
        """Bytes of the overhead that a training may need, and usually does not."""
        likely = _LIKELY_OVERHEAD["bfloat16" if self.meter.bf16 else "float32"]
        return round((1 - likely) * memory.overhead(tokens, longest))

    def _passes(self, recipe: Recipe, plan: Plan, memory: Memory) -> tuple[int, bool, list[str]]:
        """Tokens of a pass, whether the training fits, and what is said of it."""
        try:
            tokens, notices = choose_micro_batch(
                recipe, plan, memory, world=1, device=self.meter.device, prefer_whole=self.task.compares_rows
            )
        except RecipeError as error:
            return plan.longest, False, [error.rule]
        return min(tokens, plan.most_tokens(recipe.train.gradient_accumulation_steps)), True, notices

    # ---- counting ----

    def _count(self) -> _Counts:
        """Bytes of the whole model's weights, counted without making them."""
        whole = build(self.config, self.task, adds_pooling=self.meter.recipe.train.pooling != "first",
                      without_weights=True)  # fmt: skip
        table = whole.get_input_embeddings().weight
        tensors = [*whole.parameters(), *whole.buffers()]
        in_products = sum(p.numel() for p in whole.parameters() if p.ndim > 1) - (
            0 if self.is_language_model and _is_tied(whole) else table.numel()
        )
        return _Counts(
            sum(t.numel() * t.element_size() for t in tensors),
            sum(p.numel() * p.element_size() for p in whole.parameters() if p.requires_grad),
            _OPERATIONS_PER_WEIGHT * in_products,
        )

    def _with_used_rows(self, counts: _Counts, encoded: Encoded) -> _Counts:
        """The counts where only the rows of the token table that occur are trained (`embedding_rows`)."""
        from tunesmith.acceleration.embedding_rows import token_table

        whole = build(self.config, self.task, without_weights=True)
        size, width = whole.get_input_embeddings().weight.shape
        ids = token_ids(self.task, encoded, self.tokenizer.pad_token_id or 0)
        if ids is None or token_table(whole) is None or not self.meter.recipe.train.acceleration:
            return counts
        used = len(np.unique(np.concatenate([np.unique(block) for block in ids])))
        if used > _MOST_USED * size:
            return counts
        return replace(counts, trainable=counts.trainable - 4 * (size - used) * width)

    # ---- measuring ----

    def _points(self, base: Model, sequences: Sequences, plan: Plan, settings: Settings) -> dict[str, Point]:
        """The smallest model, by the name `base`, and one for each axis."""
        steps = _steps_to_time(plan, sequences)
        layers, vocabulary = self._first_sizes()
        points = {"base": self._point(base, layers, vocabulary, sequences, steps, settings)}
        del base
        for name, (more, size, _) in self._axes().items():
            points[name] = self._point(None, more, size, sequences, steps, settings)
        return points

    def _point(
        self,
        model: Model | None,
        layers: Mapping[str, int],
        vocabulary: int,
        sequences: Sequences,
        steps: Sequence[NDArray[np.int64]],
        settings: Settings,
    ) -> Point:
        entry = cache_folder() / _FOLDER / self._key(layers, vocabulary, sequences.encoded, steps)
        if (known := open_entry(entry)) is not None:
            return Point(**known)
        model = model if model is not None else self._small(layers, vocabulary)
        point = self._measured(model, sequences.encoded, steps, settings)
        with new_entry(entry) as (_, facts):
            facts.update(asdict(point))
        remove_old(entry.parent)
        return point

    def _measured(
        self, model: Model, encoded: Encoded, steps: Sequence[NDArray[np.int64]], settings: Settings
    ) -> Point:
        from tunesmith.acceleration.embedding_rows import training_rows

        pad = self.tokenizer.pad_token_id
        train = self.meter.recipe.train
        choose_attention(model, "eager" if int(encoded.longest_read.max()) <= SHORT_TEXT_TOKENS else "sdpa")
        memory = measure_training(
            self.task, model, encoded, pad_token_id=pad, bf16=settings.bf16,
            passes=2 if settings.r_drop_alpha else 1, acceleration=train.acceleration,
        )  # fmt: skip
        timed = [_part_of(batch, encoded, self._timed_tokens(model)) for batch in steps]
        ids = token_ids(self.task, encoded, pad) if train.acceleration else None
        with training_rows(model, ids):
            times = time_steps(self._job(model, encoded, settings), timed)
            trainable = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
        shares = [
            _padded(batch, encoded) / _padded(part, encoded) for batch, part in zip(steps, timed, strict=True)
        ]
        longest = int(encoded.lengths.max())
        return Point(
            float(np.mean(np.multiply(times.gradients_s, shares))),
            times.update_s,
            trainable,
            memory.activations.of(longest, longest),
            memory.activations.of(2 * longest, longest),
            memory.libraries,
            memory.gaps,
        )

    def _timed_tokens(self, model: Model) -> int:
        table = model.get_input_embeddings().weight.numel()
        weights = max(1, model.num_parameters() - (0 if self.is_language_model else table))
        operations = _TIMED_OPERATIONS.get(self.meter.device, _TIMED_OPERATIONS["cuda"])
        most = int(operations / (_OPERATIONS_PER_WEIGHT * weights))
        return min(most, _TIMED_TOKENS) if self.meter.device == "cpu" else most

    def _job(self, model: Model, encoded: Encoded, settings: Settings) -> Job:
        return Job(
            model=model,
            task=self.task,
            train=encoded,
            evaluate=dict,
            plan=Plan.__new__(Plan),  # the steps are given
            settings=settings,
            tokenizer=self.tokenizer,
            location=str,
            label_schema=self.meter.rows.label_schema,
            head=self._head(model),
            head_scale=head_scale(self.task, self.meter.rows.label_schema)[1],
        )

    def _key(
        self, layers: Mapping[str, int], vocabulary: int, encoded: Encoded, steps: Sequence[NDArray[np.int64]]
    ) -> str:
        small = reduced(self.config, layers, vocabulary).to_dict()
        facts = [
            _FORMAT, self.meter.machine, self.task.name, self.task.auto_class, small, self.meter.bf16,
            self.meter.recipe.train.model_dump(mode="json"), int(encoded.lengths.max()),
            [[len(step), int(encoded.lengths[step].max())] for step in steps],
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]

    # ---- extrapolating ----

    def _extrapolated(self, points: Mapping[str, Point], value: Callable[[Point], float]) -> float:
        """The value of the whole model: that of the smallest, and for each axis as many steps as are left."""
        first = value(points["base"])
        return first + sum(
            max(0.0, value(points[name]) - first) * times for name, (_, _, times) in self._axes().items()
        )

    def _memory(self, points: Mapping[str, Point], counts: _Counts, plan: Plan) -> Memory:
        from tunesmith.models.memory import free_memory

        short = self._extrapolated(points, lambda point: point.short)
        long = self._extrapolated(points, lambda point: point.long)
        # Activations of a pass with n tokens, if the longest sequence has `longest`.
        slope = max(0.0, long - short) / plan.longest
        activations = Activations(
            np.array([short - slope * plan.longest]), np.array([slope]), np.array([0.0])
        )
        base = points["base"]
        import torch

        return Memory(
            counts.weights,
            counts.trainable,
            2 * counts.trainable,
            activations,
            free_memory(torch.device(self.meter.device)) - counts.weights,
            base.libraries,
            base.gaps,
        )


def _is_tied(model: Model) -> bool:
    output = model.get_output_embeddings()
    return output is not None and output.weight is model.get_input_embeddings().weight


def _within(encoded: Encoded, vocabulary: int, of: _Measurement) -> Encoded:
    """The sequences with token ids that a smaller vocabulary has; labels that are token ids too."""

    def is_ids(name: str) -> bool:
        return name.endswith("input_ids") or (of.is_language_model and name.endswith("labels"))

    def fold(ragged: Ragged) -> Ragged:
        return replace(ragged, values=np.where(ragged.values >= 0, ragged.values % vocabulary, ragged.values))

    return replace(
        encoded, ragged={name: fold(r) if is_ids(name) else r for name, r in encoded.ragged.items()}
    )


def _steps_to_time(plan: Plan, sequences: Sequences) -> list[NDArray[np.int64]]:
    """Steps of the first epoch that stand for all: evenly from the smallest to the largest."""
    steps = [plan.batch(step) % len(sequences.encoded) for step in range(plan.first_epoch_steps)]
    sizes = np.array([_padded(step, sequences.encoded) for step in steps])
    order = np.argsort(sizes, kind="stable")
    n = min(_TIMED_BATCHES, len(order))
    chosen = order[((np.arange(n) + 0.5) * len(order) / n).astype(int)]
    return [steps[i] for i in chosen]


def _padded(batch: NDArray[np.int64], encoded: Encoded) -> int:
    """Padded tokens of a batch."""
    return len(batch) * int(encoded.lengths[batch].max())


def _part_of(batch: NDArray[np.int64], encoded: Encoded, most_tokens: int) -> NDArray[np.int64]:
    """Rows of a batch, evenly chosen, that have at most so many padded tokens; at least one."""
    rows = max(1, most_tokens // int(encoded.lengths[batch].max()))
    if rows >= len(batch):
        return batch
    return batch[np.linspace(0, len(batch) - 1, rows).round().astype(int)]
