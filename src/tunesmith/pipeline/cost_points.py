"""The measurement of one reduced model: the time of steps, and the memory of passes; kept in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.cache import cache_folder, new_entry, open_entry, remove_old
from tunesmith.encoded import Encoded
from tunesmith.models.attention import SHORT_TEXT_TOKENS, choose_attention
from tunesmith.pipeline.reduced_models import ReducedModels, Size
from tunesmith.tasks import head_scale
from tunesmith.training.job import Job
from tunesmith.training.micro_batches import measure_training, token_ids
from tunesmith.training.plan import Plan
from tunesmith.training.settings import Settings
from tunesmith.training.step_cost import time_steps

if TYPE_CHECKING:
    from tunesmith.types import Model

FOLDER = "model-costs"
"""The folder of the measurements within the cache."""
_FORMAT = 3
_TIMED_BATCHES = 3
_TIMED_TOKENS = 2_048
_TIMED_OPERATIONS = {"cpu": 60e9}
"""Operations of a timed step of the largest reduced model: about 0.4 seconds on two cores."""
_TIMED_OPERATIONS_ELSEWHERE = 40e12
_LARGE_TOKENS = 1_024
"""Tokens of a pass whose peak is the same event for few layers and for many: of a small pass of a model with few
layers, the gradient of a large token table may be the peak."""


@dataclass(frozen=True)
class Point:
    """The measurement of one reduced model.

    Args:
        gradient_s: seconds of the forward and backward passes of a step, the mean over the steps of an epoch.
        update_s: seconds of an update of its parameters.
        trainable: bytes of the parameters that are updated.
        tokens: tokens of a large pass.
        least: bytes of activations in a pass of the longest sequence alone.
        large: bytes of activations in a large pass.
        twice: bytes of activations in a pass twice as large.
        libraries: bytes that libraries use besides tensors.
        gaps: what the allocator leaves unused, as a share of the tensors' bytes.
    """

    gradient_s: float
    update_s: float
    trainable: int
    tokens: int
    least: int
    large: int
    twice: int
    libraries: int
    gaps: float


@dataclass(frozen=True)
class Trial:
    """What reduced models are measured with.

    Args:
        encoded: sequences of the sample.
        plan: plan of the whole training, whose sequences are those of the sample, again and again.
        settings: settings of the training.
        machine: facts of machine and versions.
    """

    encoded: Encoded
    plan: Plan
    settings: Settings
    machine: Mapping[str, object]

    def steps(self) -> list[NDArray[np.int64]]:
        """Steps of the first epoch that stand for all: evenly from the smallest to the largest."""
        steps = [self.plan.batch(step) % len(self.encoded) for step in range(self.plan.first_epoch_steps)]
        order = np.argsort([_padded(step, self.encoded) for step in steps], kind="stable")
        n = min(_TIMED_BATCHES, len(order))
        chosen = order[((np.arange(n) + 0.5) * len(order) / n).astype(int)]
        return [steps[i] for i in chosen]


def measure_point(models: ReducedModels, size: Size, trial: Trial, model: Model | None = None) -> Point:
    """The measurement of a reduced model; from the cache if it is there.

    Args:
        models: reduced models of a base model.
        size: which of them.
        trial: what it is measured with.
        model: the same model, where it is built already.
    """
    steps = trial.steps()
    entry = cache_folder() / FOLDER / _key(models, size, trial, steps)
    if (known := open_entry(entry)) is not None:
        return Point(**known)
    point = _measured(models, model if model is not None else models.build(size), trial, steps)
    with new_entry(entry) as (_, facts):
        facts.update(asdict(point))
    remove_old(entry.parent)
    return point


def _key(models: ReducedModels, size: Size, trial: Trial, steps: Sequence[NDArray[np.int64]]) -> str:
    shapes = [[len(step), int(trial.encoded.lengths[step].max())] for step in steps]
    facts = [
        _FORMAT, trial.machine, models.task.name, models.task.auto_class, models.train.model_dump(mode="json"),
        models.reduced_config(size).to_dict(), trial.settings.bf16, int(trial.encoded.lengths.max()), shapes,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _measured(models: ReducedModels, model: Model, trial: Trial, steps: Sequence[NDArray[np.int64]]) -> Point:
    from tunesmith.acceleration.embedding_rows import training_rows

    encoded, pad = trial.encoded, models.tokenizer.pad_token_id
    is_short = int(encoded.longest_read.max()) <= SHORT_TEXT_TOKENS
    choose_attention(model, "eager" if is_short else "sdpa")
    memory = measure_training(
        models.task,
        model,
        encoded,
        pad_token_id=pad,
        bf16=trial.settings.bf16,
        passes=2 if trial.settings.r_drop_alpha else 1,
        acceleration=models.train.acceleration,
    )
    timed = [_part_of(step, encoded, _timed_tokens(models)) for step in steps]
    ids = token_ids(models.task, encoded, pad) if models.train.acceleration else None
    with training_rows(model, ids):
        times = time_steps(_job(models, model, trial), timed)
        trainable = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    shares = [
        _padded(step, encoded) / _padded(part, encoded) for step, part in zip(steps, timed, strict=True)
    ]
    longest = int(encoded.lengths.max())
    tokens = max(longest, _LARGE_TOKENS)
    return Point(
        float(np.mean(np.multiply(times.gradients_s, shares))),
        times.update_s,
        trainable,
        tokens,
        memory.activations.of(longest, longest),
        memory.activations.of(tokens, longest),
        memory.activations.of(2 * tokens, longest),
        memory.libraries,
        memory.gaps,
    )


def _timed_tokens(models: ReducedModels) -> int:
    """Tokens of a timed step: the same for all reduced models, since small passes are slower for each token."""
    operations = _TIMED_OPERATIONS.get(models.device, _TIMED_OPERATIONS_ELSEWHERE)
    most = int(operations / models.most_operations)
    return min(most, _TIMED_TOKENS) if models.device == "cpu" else most


def _job(models: ReducedModels, model: Model, trial: Trial) -> Job:
    return Job(
        model=model,
        task=models.task,
        train=trial.encoded,
        evaluate=dict,
        plan=trial.plan,
        settings=trial.settings,
        tokenizer=models.tokenizer,
        location=str,
        label_schema=models.label_schema,
        head=models.head(model),
        head_scale=head_scale(models.task, models.label_schema)[1],
    )


def _padded(batch: NDArray[np.int64], encoded: Encoded) -> int:
    """Padded tokens of a batch."""
    return len(batch) * int(encoded.lengths[batch].max())


def _part_of(batch: NDArray[np.int64], encoded: Encoded, most_tokens: int) -> NDArray[np.int64]:
    """Rows of a batch, evenly chosen, that have at most so many padded tokens; at least one."""
    rows = max(1, most_tokens // int(encoded.lengths[batch].max()))
    if rows >= len(batch):
        return batch
    chosen: NDArray[np.int64] = batch[np.linspace(0, len(batch) - 1, rows).round().astype(np.int64)]
    return chosen
