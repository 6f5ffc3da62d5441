"""Outputs of a model for many sequences: batches of similar length, longest first, with the order restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.acceleration.evaluating import evaluating
from tunesmith.data.batches import (
    TOKENS_PER_FORWARD_PASS,
    collate,
    collate_arrays,
    most_padding,
    plan_in_order,
)
from tunesmith.encoded import Encoded, Ragged
from tunesmith.inference.onnx import OnnxModel
from tunesmith.models.device import autocast, device_of, to_device, without_plans
from tunesmith.models.out_of_memory import is_out_of_memory
from tunesmith.models.padding import padding_matters
from tunesmith.tasks import Task

if TYPE_CHECKING:
    from torch import nn

Advance = Callable[[int, int], None]
_LOGITS = "logits"
_TOKENS_ON_ACCELERATOR = 16_384
"""Of a pass on a GPU. One H200, float32: a BERT of 22 M parameters answers 15,100 texts per second with 2,048
tokens, 36,400 with 8,192 and 48,300 with 32,768; one of 110 M answers 6,000, 7,600 and 8,100."""
_PADDING_OF_A_GRAPH = 32
"""Most tokens of padding in a pass of a graph, which costs less to begin."""
_MOST_OUTPUTS = 2**28
"""Numbers in the outputs of such a pass, 1 GB: with a large vocabulary, they take more memory than all else."""

Outputs = NDArray[np.float32] | Ragged
"""One entry per sequence, [sequences, …]; or one per token, for tasks with outputs per token."""


def forward(
    task: Task,
    model: nn.Module | OnnxModel,
    encoded: Encoded,
    *,
    pad_token_id: int,
    tokens_per_batch: int | None = None,
    bf16: bool = False,
    advance: Advance | None = None,
) -> Outputs:
    """The outputs that the task selects, in the order of the sequences.

    Args:
        task: task that selects the outputs.
        model: a model of transformers; it is in evaluation mode meanwhile.
        encoded: sequences to compute.
        pad_token_id: padding token of the tokenizer.
        tokens_per_batch: most padded tokens in one forward pass; None for the best number on the model's device.
        bf16: whether to compute in bfloat16.
        advance: function that is called with the number of finished sequences and of all sequences.
    """
    parts: list[NDArray[np.float32]] = []
    order: list[NDArray[np.int64]] = []
    done = 0
    if isinstance(model, OnnxModel) and takes_logits(task):
        computing = _on_arrays(model)
    else:
        computing = _on_tensors(task, model, bf16=bf16)
    with computing as compute:
        most = tokens_per_batch or tokens_per_pass(model)
        batches = plan_in_order(
            encoded.lengths,
            most,
            same_length=padding_matters(model),
            most_padding=_most_padding(model),
        )
        computed = (
            found
            for sequences in batches
            for found in _within_memory(compute, encoded, sequences, pad_token_id)
        )
        for sequences, taken, kept in computed:
            parts.append(_real_tokens(kept, taken) if task.outputs_per_token else kept)
            order.append(sequences)
            done += len(sequences)
            if advance is not None:
                advance(done, len(encoded))
    return _in_order(parts, np.concatenate(order), encoded, is_ragged=task.outputs_per_token)


_Compute = Callable[[Encoded, int], NDArray[np.float32]]
"""From sequences and the padding token to the selected outputs [sequences, …]."""


def _within_memory(
    compute: _Compute, encoded: Encoded, sequences: NDArray[np.int64], pad_token_id: int
) -> Iterator[tuple[NDArray[np.int64], Encoded, NDArray[np.float32]]]:
    """The outputs of a batch; in two halves where the memory is too small for it."""
    taken = encoded.take(sequences)
    try:
        kept = compute(taken, pad_token_id)
    except Exception as error:
        if len(sequences) == 1 or not is_out_of_memory(error):
            raise
    else:
        yield sequences, taken, kept
        return
    for half in np.array_split(sequences, 2):
        yield from _within_memory(compute, encoded, half, pad_token_id)


@contextmanager
def _on_tensors(task: Task, model: Any, *, bf16: bool) -> Iterator[_Compute]:
    def compute(taken: Encoded, pad_token_id: int) -> NDArray[np.float32]:
        batch = to_device(collate(taken, pad_token_id=pad_token_id), model)
        outputs = task.select_outputs(task.forward_items(model, batch), batch)
        return np.asarray(outputs.float().cpu().numpy())

    with evaluating(model), without_plans(device_of(model)), autocast(model, bf16=bf16):
        yield compute


@contextmanager
def _on_arrays(model: OnnxModel) -> Iterator[_Compute]:
    """Without torch, which takes longer to import than a text to be answered."""
    yield lambda taken, pad_token_id: model.run(collate_arrays(taken, pad_token_id=pad_token_id))[_LOGITS]


def takes_logits(task: Task) -> bool:
    """Whether the task takes all logits as they are."""
    members = ("forward", "forward_items", "select_outputs")
    return all(getattr(type(task), name) is getattr(Task, name) for name in members)


def _most_padding(model: Any) -> float:
    if isinstance(model, OnnxModel):
        return _PADDING_OF_A_GRAPH
    return most_padding(device_of(model).type)


def tokens_per_pass(model: Any) -> int:
    """The best number of padded tokens of a forward pass on the model's device."""
    if isinstance(model, OnnxModel) or device_of(model).type == "cpu":
        return TOKENS_PER_FORWARD_PASS
    output = model.get_output_embeddings()
    most = _TOKENS_ON_ACCELERATOR if output is None else _MOST_OUTPUTS // len(output.weight)
    return min(max(most, TOKENS_PER_FORWARD_PASS), _TOKENS_ON_ACCELERATOR)


def _real_tokens(kept: NDArray[np.float32], taken: Encoded) -> NDArray[np.float32]:
    """[tokens, …] from [sequences, longest, …], without padding."""
    lengths = taken.ragged["input_ids"].lengths
    return kept[np.arange(kept.shape[1]) < lengths[:, None]]


def _in_order(
    parts: list[NDArray[np.float32]], order: NDArray[np.int64], encoded: Encoded, *, is_ragged: bool
) -> Outputs:
    values = np.concatenate(parts)
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    if not is_ragged:
        return values[position]
    lengths = encoded.ragged["input_ids"].lengths[order]
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths)])).take(position)
