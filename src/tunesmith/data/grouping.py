"""Which rows belong together: one context, one document, one customer.

Such rows stay in one split (`data/splits.py`), and intervals resample them together (`evaluation/clusters.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.examples import Examples
from tunesmith.data.splits import normalised
from tunesmith.tasks import Task


def row_groups(task: Task, examples: Examples, group_by: str | None) -> NDArray[np.int64] | None:
    """[rows], the number of each row's group; None if every row is a group of its own.

    Args:
        task: task whose columns may be marked as `together`.
        examples: rows to group.
        group_by: the recipe's `data.group_by`; if the rows have it, it replaces the task's columns.
    """
    columns = _columns(task, examples, group_by)
    if not columns or not len(examples):
        return None
    numbers: dict[bytes, int] = {}
    groups = np.empty(len(examples), dtype=np.int64)
    for row, values in enumerate(zip(*columns, strict=True)):
        groups[row] = numbers.setdefault(_key(values, row), len(numbers))
    return groups if len(numbers) < len(examples) else None


def _key(values: Sequence[object], row: int) -> bytes:
    """A short key, equal for rows of one group. A row without a value is a group of its own."""
    alone = any(value in (None, "") for value in values)
    whole = f"row {row}" if alone else "\0".join(normalised(str(value)) for value in ("", *values))
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _columns(task: Task, examples: Examples, group_by: str | None) -> list[Sequence[object]]:
    if group_by is not None and group_by in examples.extra:
        return [examples.extra[group_by]]
    names = [column.name for column in task.columns if column.together]
    return [examples.columns[name] for name in names if name in examples.columns]


def group_columns(group_by: str | None) -> list[str]:
    """The columns that are read, if a file has them, to group rows."""
    return [] if group_by is None else [group_by]


def notice_of_groups(examples: Examples, group_by: str | None) -> str:
    """A notice if the rows lack the column by which they should be grouped; else empty."""
    if group_by is None or any(value is not None for value in examples.extra.get(group_by, ())):
        return ""
    return (
        f"{', '.join(examples.files)} has no column `{group_by}` (`data.group_by`): "
        "the intervals take its rows as independent"
    )
