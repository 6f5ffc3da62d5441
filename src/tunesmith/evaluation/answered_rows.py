"""What a comparison of models needs of answered rows, kept in the run folder as `predictions/test.npz`.

With each row's statistics, every metric and every paired test can be computed on any of the rows, and the model
need not answer them again. A row is known by a hash of its inputs and its true answer, wherever its file is now;
its text is not in the file.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluation.intervals import Interval, Method, intervals
from tunesmith.metrics import Statistics
from tunesmith.run import write_atomically
from tunesmith.tasks import LabelSchema, Task

if TYPE_CHECKING:
    from pathlib import Path

    from tunesmith.data.examples import Examples
    from tunesmith.evaluation.scoring import Scored


@dataclass(frozen=True)
class AnsweredRows:
    """Rows with the statistics of a model's answers.

    Args:
        task: task whose metrics are computed.
        label_schema: the task's label schema, with the thresholds of the model.
        statistics: [rows, s], statistics of the rows.
        keys: [rows], hash of each row's inputs and true answer.
        is_seen: [rows], whether the model was trained on the row's text, or nearly.
        groups: [rows], number of each row's group; None if every row is a group of its own.
    """

    task: Task
    label_schema: LabelSchema
    statistics: Statistics
    keys: NDArray[np.uint64]
    is_seen: NDArray[np.bool_]
    groups: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, scored: Scored, counting: NDArray[np.int64]) -> AnsweredRows:
        """The rows of a split with its predictions.

        Args:
            scored: split with its predictions.
            counting: numbers of the rows that count, since the model was not trained on them.
        """
        return cls(
            scored.task,
            scored.label_schema,
            scored.statistics,
            row_keys(scored.task, scored.examples),
            ~np.isin(np.arange(len(scored.examples)), counting),
            scored.groups,
        )

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: NDArray[np.int64]) -> AnsweredRows:
        """Some of the rows, in the given order."""
        groups = None if self.groups is None else self.groups[rows]
        return replace(
            self,
            statistics=self.statistics[rows],
            keys=self.keys[rows],
            is_seen=self.is_seen[rows],
            groups=groups,
        )

    def intervals(self, method: Method) -> dict[str, Interval]:
        """Every metric of the task, with its interval."""
        return intervals(
            self.statistics,
            lambda sums: self.task.formula(sums, self.label_schema),
            self.task.shares(self.label_schema),
            method,
            groups=self.groups,
        )


def row_keys(task: Task, examples: Examples) -> NDArray[np.uint64]:
    """[rows], 64 bits of a hash of everything that the task reads of a row: its inputs and its true answer."""
    names = sorted(name for name in {*task.inputs, *task.outputs} if name in examples.columns)
    keys = np.empty(len(examples), dtype=np.uint64)
    for number, values in enumerate(zip(*(examples.columns[name] for name in names), strict=True)):
        known = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        text = json.dumps(known, sort_keys=True, default=_plain)
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        keys[number] = int.from_bytes(digest, "little")
    return keys


def write_answered_rows(path: Path, rows: AnsweredRows) -> None:
    """Writes the rows as a compressed .npz file, without pickle."""
    from scipy import sparse

    arrays = {
        "keys": rows.keys,
        "is_seen": rows.is_seen,
        "label_schema": np.array(json.dumps(rows.label_schema)),
    }
    if rows.groups is not None:
        arrays["groups"] = rows.groups
    if sparse.issparse(rows.statistics):
        matrix = sparse.csr_matrix(rows.statistics)
        arrays |= {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
        arrays["shape"] = np.array(matrix.shape)
    else:
        arrays["dense"] = np.asarray(rows.statistics)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def read_answered_rows(path: Path, task: Task) -> AnsweredRows | None:
    """The rows that a run kept; None if an earlier version made the run and kept none."""
    from scipy import sparse

    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as found:
        statistics: Statistics = (
            found["dense"]
            if "dense" in found
            else sparse.csr_matrix(
                (found["data"], found["indices"], found["indptr"]), shape=tuple(found["shape"])
            )
        )
        return AnsweredRows(
            task,
            json.loads(str(found["label_schema"])),
            statistics,
            found["keys"],
            found["is_seen"],
            found.get("groups"),
        )


def _plain(value: object) -> object:
    """An array or a number of numpy as JSON has it; anything else as its text."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
