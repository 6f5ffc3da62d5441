"""Several short texts in one sequence, so that no padding is computed.

The texts stay apart: positions restart with each text, and transformers derives a mask from them, so no token
attends to another text. The first token of a text has no label, because the token before it belongs to another
text. The loss of packed texts equals that of the same texts alone.
"""

from __future__ import annotations

import heapq
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tunesmith.encoded import Encoded, Ragged
from tunesmith.tasks import IGNORED

_LEAST = 256
"""A sequence of so many tokens leaves less than a tenth of its time to attention."""
_NEARLY_ALL = 0.95


def pack(encoded: Encoded, max_length: int) -> Encoded:
    """Joins short sequences to full ones; `position_ids` restarts where a text begins.

    Args:
        encoded: sequences with `input_ids` and `labels`, one label per token.
        max_length: most tokens in a packed sequence.
    """
    groups = best_fit(encoded.lengths, max_length)
    order = encoded.take(np.concatenate(groups))
    lengths = np.array([encoded.lengths[group].sum() for group in groups])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    starts = order.ragged["input_ids"].offsets
    positions = np.arange(offsets[-1]) - np.repeat(starts[:-1], np.diff(starts))
    labels = np.where(positions == 0, IGNORED, order.ragged["labels"].values)
    fields = {name: Ragged(ragged.values, offsets) for name, ragged in order.ragged.items()}
    fields |= {
        "labels": Ragged(labels.astype(np.int32), offsets),
        "position_ids": Ragged(positions.astype(np.int32), offsets),
    }
    first_rows = np.array([encoded.rows[group[0]] for group in groups], dtype=np.int64)
    return replace(encoded, ragged=fields, rows=first_rows, dense={})


def packed_length(lengths: NDArray[np.int64], most: int) -> int:
    """Tokens of a packed sequence: as few as hold nearly every text, since attention costs their square.

    Args:
        lengths: [texts], tokens of each text; longer ones stay alone.
        most: most tokens of a sequence.
    """
    return min(most, max(_LEAST, int(np.quantile(lengths, _NEARLY_ALL)))) if len(lengths) else most


def best_fit(lengths: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Groups of items whose lengths add up to at most `size`: the longest first, each into the group it fits best.

    Longer items are groups of their own.

    Best-fit decreasing (Johnson 1973) needs at most 11/9 of the fewest possible groups, plus one.
    """
    free: dict[int, list[int]] = {}
    sizes: list[int] = []  # the distinct free sizes, sorted
    groups: list[list[int]] = []
    for item in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[item])
        position = int(np.searchsorted(np.asarray(sizes), length)) if sizes else 0
        if position < len(sizes):
            room = sizes[position]
            group = heapq.heappop(free[room])
            if not free[room]:
                del free[room]
                sizes.pop(position)
        else:
            room, group = size, len(groups)
            groups.append([])
        groups[group].append(item)
        left = room - length
        if left > 0:
            if left not in free:
                sizes.insert(int(np.searchsorted(np.asarray(sizes), left)) if sizes else 0, left)
            heapq.heappush(free.setdefault(left, []), group)
    return [np.array(group, dtype=np.int64) for group in groups]
