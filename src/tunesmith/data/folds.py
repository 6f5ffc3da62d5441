"""Folds: the training rows dealt into parts, each of which is the test split of one training.

Labels are equally frequent in all parts, groups stay whole, and the same text is never in two parts. Which part a
row is in depends on the seed and the rows alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.splits import label_numbers, order_of, units
from tunesmith.errors import DataError, RecipeError

if TYPE_CHECKING:
    from tunesmith.data.examples import Examples
    from tunesmith.recipe import DataRecipe
    from tunesmith.tasks import Task


def with_fold(task: Task, splits: dict[str, Examples], data: DataRecipe, seed: int) -> dict[str, Examples]:
    """The splits, with one part of the training rows as the test split."""
    train, (fold, n) = splits["train"], read_fold(str(data.fold))
    strata = [c.name for c in task.columns if c.target and c.kind == "category"]
    together = [c.name for c in task.columns if c.together and c.required and c.name in train.columns]
    folds = deal_into_folds(train, n, strata=strata, group_by=data.group_by, seed=seed, together=together)
    return {
        **splits,
        "train": train.take(np.flatnonzero(folds != fold)),
        "test": train.take(np.flatnonzero(folds == fold)),
    }


def read_fold(text: str) -> tuple[int, int]:
    """The number of a part, from 1, and the number of parts: `2/5`.

    Raises:
        RecipeError: the text is something else.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    fold, n = (int(part) for part in found.groups()) if found else (0, 0)
    if not 1 <= fold <= n or n < 2:
        raise RecipeError(
            f"data.fold must be the number of a part and the number of parts, got `{text}`.",
            remedy="For the second of five parts, give `2/5`.",
        )
    return fold, n


def deal_into_folds(
    examples: Examples,
    n: int,
    *,
    strata: Sequence[str],
    group_by: str | None,
    seed: int,
    together: Sequence[str] = (),
) -> NDArray[np.int64]:
    """[rows], the part of each row, from 1.

    Args:
        examples: rows to deal.
        n: number of parts.
        strata: names of the columns whose values should be equally frequent in all parts.
        group_by: name of an extra column; rows with the same value stay in one part.
        seed: random seed.
        together: names of columns; rows with the same value stay in one part.

    Raises:
        DataError: there are fewer texts or groups than parts.
    """
    of_rows, labels = units(examples, group_by, together), label_numbers(examples, strata)
    members = np.argsort(of_rows, kind="stable")  # rows of one unit side by side, in file order
    names, starts = np.unique(of_rows[members], return_index=True)
    if len(names) < n:
        raise DataError(
            f"{len(examples)} rows cannot be dealt into {n} parts: they are {len(names)} texts or groups that "
            "must stay whole.",
            remedy="Add rows, or choose fewer folds.",
            location="train.folds",
        )
    ends = np.append(starts[1:], len(members))
    sizes, counts = np.zeros(n, dtype=np.int64), np.zeros((n, labels.max(initial=0) + 1), dtype=np.int64)
    folds = np.empty(len(of_rows), dtype=np.int64)
    # Large groups first: what is dealt later evens out what they leave uneven.
    order = order_of(names, seed, "folds")
    for unit in order[np.argsort((starts - ends)[order], kind="stable")]:
        rows = members[starts[unit] : ends[unit]]
        found = np.bincount(labels[rows], minlength=counts.shape[1])
        part = np.lexsort((sizes, counts @ found))[0]
        folds[rows], sizes[part] = part + 1, sizes[part] + len(rows)
        counts[part] += found
    return folds
