"""Batches of similar length under a token budget, in an order that is a function of (seed, epoch).

Padding is wasted work: random batches of banking77 have 40 % real tokens, these have above 90 %. Rows are
shuffled, sorted by length with a little noise (so that epochs have different batches), and cut into batches of at
most `tokens_per_batch` padded tokens. Then the batches are shuffled. No state is kept between batches, so to
resume a run, only the number of steps is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.encoded import Encoded
from tunesmith.tasks import IGNORED

if TYPE_CHECKING:
    import torch

TOKENS_PER_FORWARD_PASS = 2048
"""Of a pass that learns nothing. Measured on two cores: 1024 and 2048 are alike, 4096 takes 9 % longer, 8192 35 %:
caches overflow."""

_MOST_PADDING = 128
"""Most tokens of padding in such a pass on a CPU: another pass costs less than to compute more. MiniLM, 8 texts of
mixed lengths: 14 ms a text with 128, 15 with 512, 24 without a limit (one busy core)."""
_LENGTH_NOISE = 0.15


def plan_epoch(
    lengths: NDArray[np.int64],
    *,
    rng: np.random.Generator,
    tokens_per_batch: int | None = None,
    rows_per_batch: int | None = None,
    by_length: bool = True,
) -> list[NDArray[np.int64]]:
    """The batches of one epoch: every row once.

    Args:
        lengths: [rows], tokens of each row.
        rng: random generator of this epoch.
        tokens_per_batch: most tokens in a batch, padding included; a longer row is a batch of its own.
        rows_per_batch: number of rows in a batch, instead of a number of tokens.
        by_length: whether the rows of a batch have similar lengths.
    """
    shuffled = rng.permutation(len(lengths))
    noise = 1.0 + _LENGTH_NOISE * rng.random(len(lengths))
    order = shuffled[np.argsort(lengths[shuffled] * noise, kind="stable")] if by_length else shuffled
    if rows_per_batch is not None:
        batches = [order[i : i + rows_per_batch] for i in range(0, len(order), rows_per_batch)]
    else:
        batches = cut_by_tokens(lengths, order, tokens_per_batch or 1)
    return [batches[i] for i in rng.permutation(len(batches))]


def most_padding(device: str) -> float:
    """Most tokens of padding in a pass that learns nothing, by the type of the device."""
    return _MOST_PADDING if device == "cpu" else float("inf")


def plan_in_order(
    lengths: NDArray[np.int64],
    tokens_per_batch: int,
    *,
    same_length: bool = False,
    most_padding: float = float("inf"),
) -> list[NDArray[np.int64]]:
    """Batches for scoring: longest first, so that memory runs out at once or never.

    Args:
        lengths: [sequences], tokens of each.
        tokens_per_batch: most tokens in a batch, padding included.
        same_length: whether a batch must need no padding.
        most_padding: most tokens of padding in a batch.
    """
    order = np.argsort(-lengths, kind="stable")
    if not same_length:
        return cut_by_tokens(lengths, order, tokens_per_batch, most_padding)
    groups = np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1)
    return [batch for group in groups for batch in cut_by_tokens(lengths, group, tokens_per_batch)]


def cut_by_tokens(
    lengths: NDArray[np.int64],
    order: NDArray[np.int64],
    tokens_per_batch: int,
    most_padding: float = float("inf"),
) -> list[NDArray[np.int64]]:
    """Cuts an order of rows where the padded batch, or its padding alone, would exceed a number of tokens."""
    batches, start, longest, real = [], 0, 0, 0
    for position, length in enumerate(lengths[order].tolist()):
        longest, real = max(longest, length), real + length
        padded = longest * (position - start + 1)
        if (padded > tokens_per_batch or padded - real > most_padding) and position > start:
            batches.append(order[start:position])
            start, longest, real = position, length, length
    if len(order):
        batches.append(order[start:])
    return batches


def split_batch(batch: NDArray[np.int64], parts: int) -> list[NDArray[np.int64]]:
    """A batch in nearly equal parts, for accumulation or for devices; some may be empty."""
    return np.array_split(batch, parts)


def cut_to_fit(lengths: NDArray[np.int64], parts: int, most_tokens: int | None) -> list[NDArray[np.int64]]:
    """The positions of a batch, split into the fewest forward passes of equal size within a token budget.

    Args:
        lengths: [sequences], tokens of each.
        parts: least number of passes; the number is a multiple of it, so that all processes get equally many.
        most_tokens: most tokens in a pass, padding included; a longer sequence is a pass of its own. None: no
            limit.
    """
    positions, n = np.arange(len(lengths)), parts
    while True:
        cut = split_batch(positions, n)
        largest = max(len(part) * int(lengths[part].max(initial=0)) for part in cut)
        if most_tokens is None or largest <= most_tokens or n >= len(lengths):
            return cut
        n += parts


def collate(encoded: Encoded, *, pad_token_id: int, padding_side: str = "right") -> dict[str, torch.Tensor]:
    """One padded batch of the given sequences: `input_ids`, `attention_mask`, `labels`, ….

    Labels are padded with `IGNORED`. Sequences that hold several texts (`position_ids` restarts with each) get no
    attention mask: transformers derives one from the positions, which keeps the texts apart.
    """
    import torch

    arrays = collate_arrays(encoded, pad_token_id=pad_token_id, padding_side=padding_side)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def collate_arrays(
    encoded: Encoded, *, pad_token_id: int, padding_side: str = "right"
) -> dict[str, NDArray[Any]]:
    """The same as arrays."""
    batch: dict[str, NDArray[Any]] = {}
    for name, ragged in encoded.ragged.items():
        mask = _mask(ragged.lengths, padding_side)
        if name.endswith("input_ids") and "position_ids" not in encoded.ragged:
            batch[name.replace("input_ids", "attention_mask")] = mask.astype(np.int64)
        padded = np.full(mask.shape, _padding(name, pad_token_id), dtype=np.int64)
        padded[mask] = ragged.values
        batch[name] = padded
    return batch | {name: np.asarray(values) for name, values in encoded.dense.items()}


def dense_fields(encoded: Encoded) -> dict[str, torch.Tensor]:
    """The fields of fixed length, [sequences, …]."""
    import torch

    return {name: torch.from_numpy(np.asarray(values)) for name, values in encoded.dense.items()}


def _mask(lengths: NDArray[np.int64], padding_side: str) -> NDArray[np.bool_]:
    """[sequences, longest], whether there is a token."""
    columns, longest = np.arange(lengths.max(initial=0)), lengths.max(initial=0)
    ends = lengths[:, None]
    return np.asarray(columns < ends if padding_side == "right" else columns >= longest - ends)


def _padding(name: str, pad_token_id: int) -> int:
    if name.endswith("input_ids"):
        return pad_token_id
    return IGNORED if name.endswith("labels") else 0


def tokens_for_rows(lengths: NDArray[np.int64], rows: int) -> int:
    """A token budget under which a batch has about `rows` rows on average."""
    return max(int(np.ceil(float(np.mean(lengths)) * rows)), int(lengths.max()) if len(lengths) else 1)
