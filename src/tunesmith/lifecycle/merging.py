"""Which old rows a challenger learns again, beside the new ones.

    all      every old row
    window   the newest rows, old and new, as many as the champion was trained on: what was long ago is forgotten
    replay   a sample of the old rows: enough not to forget, and quick

No label is forgotten: each keeps some rows, whatever the recipe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from tunesmith.errors import RecipeError
from tunesmith.evaluation.answered_rows import row_keys
from tunesmith.evaluation.candidate_slices import labels_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.data.examples import Examples
    from tunesmith.lifecycle.gathering import OldRows
    from tunesmith.types import JsonObject

Kind = Literal["all", "window", "replay"]
KINDS: tuple[str, ...] = get_args(Kind)

_LEAST_OF_LABEL = 8
_REPLAY_RATIO, _REPLAY_OF_LABEL, _LEAST_REPLAY = 4, 100, 500


@dataclass(frozen=True)
class Merge:
    """How old and new rows become training rows.

    Args:
        kind: `all`, `window` or `replay`.
        rows: rows of the window, or old rows that are replayed; None chooses.
    """

    kind: str = "all"
    rows: int | None = None

    def __post_init__(self) -> None:
        """Refuses a kind that there is not, and rows that have no effect."""
        if self.kind not in KINDS:
            raise RecipeError(
                f"`{self.kind}` is not a way to merge old and new rows.", remedy=f"Known: {', '.join(KINDS)}."
            )
        if self.rows is not None and (self.kind == "all" or self.rows < 1):
            raise RecipeError(
                f"`--rows {self.rows}` has no meaning for `--merge {self.kind}`.",
                remedy="Give a number above 0 with `--merge window` or `--merge replay`.",
            )

    def to_json(self) -> JsonObject:
        """The merge as plain JSON."""
        return {"kind": self.kind, "rows": self.rows}


def old_rows_to_learn(merge: Merge, old: OldRows, n_new: int) -> NDArray[np.int64]:
    """The numbers of rows in the champion's pool that are learned again, in their order.

    Args:
        merge: how rows are merged.
        old: the champion's rows.
        n_new: number of new rows that are learned.
    """
    n_old = sum(map(len, old.pool))
    if merge.kind == "all":
        return np.arange(n_old)
    labels = [of_row for rows in old.pool for of_row in _labels(old, rows)]
    if merge.kind == "window":
        newest, size = range(n_old - 1, -1, -1), merge.rows or len(old.splits["train"])
        return _chosen(newest, labels, max(size - n_new, 0))
    n_labels = len({label for of_row in labels for label in of_row})
    wanted = merge.rows or max(_REPLAY_RATIO * n_new, _REPLAY_OF_LABEL * n_labels, _LEAST_REPLAY)
    return _chosen(_shuffled(old), labels, wanted)


def _labels(old: OldRows, rows: Examples) -> list[set[str]]:
    """[rows], the labels of each row; none where rows have no labels."""
    known = old.label_names
    return [known.intersection(labels_of(value)) for value in old.task.gold(rows.columns, old.label_schema)]


def _shuffled(old: OldRows) -> list[int]:
    """The rows of the pool in an order that depends on their content and the seed, not on their order."""
    keys = np.concatenate([row_keys(old.task, rows) for rows in old.pool])
    salt = np.uint64(np.random.default_rng(old.recipe.seed).integers(2**63))
    return [int(row) for row in np.lexsort((np.arange(len(keys)), keys ^ salt))]


def _chosen(order: Iterable[int], labels: Sequence[set[str]], n: int) -> NDArray[np.int64]:
    """The first rows of an order, and the first of each label, in rising order."""
    order, counts = list(order), Counter[str]()
    chosen = set(order[:n])
    for row in order[:n]:
        counts.update(labels[row])
    for row in order[n:]:
        if any(counts[label] < _LEAST_OF_LABEL for label in labels[row]):
            chosen.add(row)
            counts.update(labels[row])
    return np.array(sorted(chosen), dtype=np.int64)
