"""How the sources of a split are read, besides what the task says: one object from the recipe to the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.tasks import Values

EXACT = "exact"
"""The value of `data.align_answers` under which answers must stand where their rows say."""


@dataclass(frozen=True)
class ReadOptions:
    """How sources are read.

    Args:
        columns: the recipe's `data.columns`, which win over what is recognised.
        extra: columns of the file to keep besides the task's.
        optional: columns to keep, too, but None where a file lacks them.
        align: the recipe's `data.align_answers`.
        remembered: columns that a run was trained with, a mapping for each of its files, see `columns.recall`.
        with_metadata: keep the other columns of the file too, where their values are single ones.
    """

    columns: Values = field(default_factory=dict)
    extra: Sequence[str] = ()
    optional: Sequence[str] = ()
    align: str = EXACT
    remembered: Sequence[Values] = ()
    with_metadata: bool = False


PLAIN_READING = ReadOptions()
