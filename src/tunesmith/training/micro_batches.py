"""The number of tokens in a forward pass, so that training fits into memory; the global batch stays the same.

A loss is a sum over the items of the global batch (`gradient`), so more passes change only the order of additions
and the dropout masks. The choice is written to recipe.yaml: a run that is resumed, or repeated on a machine with
more memory, splits its batches in the same places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.batches import collate
from tunesmith.encoded import Encoded, Ragged
from tunesmith.errors import RecipeError
from tunesmith.models.device import autocast, device_of, to_device, without_plans
from tunesmith.models.memory import Forward, Memory, in_gb, measure_memory
from tunesmith.recipe import Recipe
from tunesmith.tasks import Task
from tunesmith.training.plan import Plan

if TYPE_CHECKING:
    import torch

    from tunesmith.types import Array, Model

_END_TOKENS = 2
"""The end token of a text, and mBART's language token after it."""
_BLOCK_TOKENS = 2**20
_BEST_TOKENS = 2048
"""Best number of tokens in a pass (CPU): with 2048 instead of 8192, policyqa trains 8 % faster, in less memory."""


def measure_training(
    task: Task,
    model: Model,
    encoded: Encoded,
    *,
    pad_token_id: int,
    bf16: bool,
    passes: int = 1,
    acceleration: bool = True,
) -> Memory:
    """The memory that training on these sequences needs.

    Args:
        task: task that the model learns.
        model: model, already frozen as in training.
        encoded: training sequences.
        pad_token_id: padding token of the tokenizer.
        bf16: whether to compute in bfloat16.
        passes: number of forward passes for one backward pass.
        acceleration: whether only the rows of the token table that occur are trained.
    """
    from tunesmith.acceleration.embedding_rows import training_rows

    forward = _forward_on_cuts(task, model, encoded, pad_token_id=pad_token_id, bf16=bf16)
    ids = token_ids(task, encoded, pad_token_id) if acceleration else None
    longest = int(encoded.lengths.max())
    with without_plans(device_of(model)):
        return measure_memory(
            model, forward, longest=longest, passes=passes, as_trained=training_rows(model, ids)
        )


def token_ids(task: Task, encoded: Encoded, pad_token_id: int) -> Iterator[NDArray[np.int64]] | None:
    """Every id that training will read, a block at a time; None if the task draws ids anew at every step."""
    if task.masking is not None:
        return None
    found = [ragged.values for name, ragged in encoded.ragged.items() if name.endswith("input_ids")]
    found.append(np.array([pad_token_id]))
    return (ids[i : i + _BLOCK_TOKENS] for ids in found for i in range(0, len(ids), _BLOCK_TOKENS))


def _forward_on_cuts(task: Task, model: Model, encoded: Encoded, *, pad_token_id: int, bf16: bool) -> Forward:
    """Runs the model on beginnings of the longest sequence."""
    from tunesmith.acceleration.encoder_blocks import exact_shapes

    longest = int(encoded.lengths.argmax())

    def forward(sequences: int, tokens: int) -> tuple[torch.Tensor, int, int]:
        cut = _beginnings(encoded.take(np.full(sequences, longest)), tokens)
        batch = to_device(collate(cut, pad_token_id=pad_token_id), model)
        with autocast(model, bf16=bf16), exact_shapes():
            output = task.forward(model, batch)
        length = int(cut.lengths.max())
        return output, sequences * length, length

    return forward


def _beginnings(encoded: Encoded, tokens: int) -> Encoded:
    """Every sequence truncated to `tokens`; its end stays, since some classes need it (T5, BART, mBART)."""
    end = min(_END_TOKENS, tokens)

    def cut(sequence: Array) -> Array:
        if len(sequence) <= tokens:
            return sequence
        return np.concatenate([sequence[: tokens - end], sequence[len(sequence) - end :]])

    def begin(ragged: Ragged) -> Ragged:
        sequences = [cut(ragged[i]) for i in range(len(ragged))]
        return Ragged.of(sequences, dtype=ragged.values.dtype)

    return replace(encoded, ragged={name: begin(ragged) for name, ragged in encoded.ragged.items()})


def choose_micro_batch(
    recipe: Recipe, plan: Plan, memory: Memory, *, world: int, device: str = "cpu", prefer_whole: bool = False
) -> tuple[int, list[str]]:
    """The most padded tokens in one forward pass, and notices for the user.

    Args:
        recipe: recipe with every other value filled in.
        plan: plan of the batches.
        memory: memory that training needs.
        world: number of training processes.
        device: `cpu`, `cuda`, ….
        prefer_whole: whether a batch in several passes costs a second forward pass.

    Raises:
        RecipeError: not even the longest sequence fits.
    """
    asked, longest = recipe.train.tokens_per_micro_batch, plan.longest
    passes = recipe.train.gradient_accumulation_steps * world
    whole = plan.most_tokens(passes)
    fits = max(memory.tokens_that_fit(longest), 0)
    if asked != "auto":
        too_much = memory.to_come(max(min(int(asked), whole), longest), longest) > memory.free
        return int(asked), [_too_little(memory, longest)] if too_much else []
    if memory.to_come(longest, longest) > memory.free:
        raise RecipeError(_too_little(memory, longest), remedy=_remedy(recipe))
    best = whole if prefer_whole or device != "cpu" else min(max(_BEST_TOKENS, longest), whole)
    if fits >= best:
        return best, []
    chosen = max(fits, longest)
    return chosen, [
        f"a batch of {whole:,} tokens does not fit: it is split into forward passes of at most {chosen:,} tokens, "
        "with the same gradient"
    ]


def _too_little(memory: Memory, longest: int) -> str:
    return (
        f"training needs {in_gb(memory.to_come(longest, longest))} more with batches of a single sequence of "
        f"{longest:,} tokens, and {in_gb(memory.free)} are free."
    )


def ways_to_save_memory(recipe: Recipe) -> list[str]:
    """What a user can change so that a training needs less memory, the easiest first."""
    ways = []
    if not recipe.train.gradient_checkpointing:
        ways.append("`train.gradient_checkpointing=true`")
    if recipe.train.method in ("auto", "full"):
        ways.append("`train.method=lora`")
    return [*ways, f"a `data.max_length` below {recipe.data.max_length}", "a smaller model"]


def _remedy(recipe: Recipe) -> str:
    ways = ", ".join(ways_to_save_memory(recipe))
    return f"Try {ways}; or give `train.tokens_per_micro_batch` to try it anyway."
