"""Which of the waiting rows are computed next.

The oldest row is always taken, so none starves. The batch is filled with the rows whose length is nearest to it,
up to a number of padded tokens and not to a number of rows: a batch of short texts is large, and one of long texts
small. A batch starts as soon as the model is free; nobody waits for others to come.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunesmith.inference.prepared import Prepared
    from tunesmith.types import JsonObject


@dataclass(eq=False)
class Job:
    """A request in a worker.

    Args:
        number: number that the front gave it.
        ask: what the front sent.
        size: number of rows.
    """

    number: int
    ask: JsonObject
    size: int
    answers: list[Any] = field(init=False)
    missing: int = field(init=False)
    began: float = field(default_factory=time.monotonic)
    started: float = 0.0
    is_over: bool = False
    """Whether it was answered, refused or cancelled."""

    def __post_init__(self) -> None:
        self.answers, self.missing = [None] * self.size, self.size

    def is_due(self, now: float) -> bool:
        """Whether somebody still waits for it."""
        return not self.is_over and now < float(self.ask["deadline"])


@dataclass(frozen=True, eq=False)
class Item:
    """One row of a job, encoded.

    Args:
        job: whose it is.
        position: of the row in the job.
        chunk: rows that were encoded together.
        row: of the chunk.
        length: tokens of its longest sequence.
        sequences: number of its sequences.
        tokens: number of its tokens.
        kind: items of one kind can share a batch.
    """

    job: Job
    position: int
    chunk: Prepared
    row: int
    length: int
    sequences: int
    tokens: int
    kind: tuple[object, ...]


def choose(waiting: Sequence[Item], most_tokens: int) -> list[int]:
    """The positions of the next batch.

    Args:
        waiting: items, the oldest first.
        most_tokens: tokens of a batch, padding included; a longer item is a batch of its own.
    """
    first = waiting[0]
    same = [i for i, item in enumerate(waiting) if item.kind == first.kind]
    if padded([waiting[i] for i in same]) > most_tokens:
        same.sort(key=lambda i: abs(waiting[i].length - first.length))
    chosen: list[int] = []
    longest = sequences = 0
    for i in same:
        longest, sequences = max(longest, waiting[i].length), sequences + waiting[i].sequences
        if chosen and longest * sequences > most_tokens:
            break
        chosen.append(i)
    return chosen


def padded(items: Sequence[Item]) -> int:
    """Tokens of a batch of some items, padding included."""
    return max(item.length for item in items) * sum(item.sequences for item in items)
