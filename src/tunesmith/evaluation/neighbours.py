"""The training rows that are nearest to a row, by what the head reads: those that taught the model its answer.

Nearness is the cosine of the vectors. A sample of the training rows is kept in the run as float16, at most 8
MiB, with the numbers of their lines and their labels, so that `evaluate` finds neighbours, too. Their texts are
not kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.run import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.data.examples import Examples

FILE = "train_vectors.safetensors"
"""Name of the file in the `data` folder of a run."""

_NAMED = "named"
_MOST_BYTES = 8 * 2**20
_BLOCK = 1000


@dataclass(frozen=True)
class TrainingVectors:
    """Training rows with what the head reads of them.

    Args:
        vectors: [n, d], inputs of the head.
        rows: [n], names of the rows: `train.csv:17`.
        gold: [n], their true answers.
        texts: [n], their texts; empty where they are not at hand.
    """

    vectors: NDArray[Any]
    rows: Sequence[str]
    gold: Sequence[Any]
    texts: Sequence[str] = ()

    @classmethod
    def of(cls, vectors: NDArray[np.float32], examples: Examples, gold: Sequence[Any]) -> TrainingVectors:
        """Those of some training rows."""
        names = [name for name in examples.inputs if name in examples.columns]
        columns = [examples.columns[name] for name in names]
        texts = ["\n".join(map(str, parts)) for parts in zip(*columns, strict=True)]
        return cls(vectors, list(examples.row_ids()), gold, texts)

    def save(self, folder: Path) -> None:
        """Writes as many rows as fit into 8 MiB, evenly spread, without their texts."""
        from safetensors.numpy import save

        most = max(_MOST_BYTES // (2 * self.vectors.shape[1]), 1)
        kept = np.unique(np.linspace(0, len(self.rows) - 1, min(most, len(self.rows))).astype(int))
        named = {"rows": [self.rows[i] for i in kept], "gold": [self.gold[i] for i in kept]}
        # One entry, because the library writes several in an order that changes from process to process.
        metadata = {_NAMED: json.dumps(named, ensure_ascii=False)}
        unit = np.ascontiguousarray(self.unit[kept], dtype=np.float16)
        write_atomically(folder / FILE, save({"vectors": unit}, metadata=metadata))

    @classmethod
    def load(cls, folder: Path) -> TrainingVectors | None:
        """Reads the file of `save`; None where the run has none."""
        from safetensors import safe_open

        if not (folder / FILE).is_file():
            return None
        with safe_open(folder / FILE, framework="np") as file:
            found = file.metadata()
            if _NAMED in found:
                named = json.loads(found[_NAMED])
            else:  # of an earlier version
                named = {name: json.loads(text) for name, text in found.items()}
            return cls(file.get_tensor("vectors"), named["rows"], named["gold"])

    @cached_property
    def unit(self) -> NDArray[np.float32]:
        """[n, d], the vectors at length 1."""
        return _unit(self.vectors)

    def nearest(self, vectors: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """[rows, k], the numbers of the nearest training rows of vectors [rows, d], and their cosines."""
        k, unit = min(k, len(self.rows)), _unit(vectors)
        numbers = np.empty((len(unit), k), dtype=np.int64)
        cosines = np.empty((len(unit), k), dtype=np.float32)
        for start in range(0, len(unit), _BLOCK):
            found = unit[start : start + _BLOCK] @ self.unit.T
            best = np.argsort(-found, axis=1, kind="stable")[:, :k]
            numbers[start : start + _BLOCK] = best
            cosines[start : start + _BLOCK] = np.take_along_axis(found, best, axis=1)
        return numbers, cosines


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    wide = vectors.astype(np.float32)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12))
