"""The reference of a run: what its held-out rows were like, so that what comes later can be compared with them.

It has the test rows, every one of them, also those whose texts were trained on: texts to come will repeat training
texts, too. Where there are few, validation rows join them. Of these, what the training fitted on them (scores,
thresholds) is left out. No text is kept; the vocabulary has the words of at least five training texts. Rows are
known by their names, so that `forget` takes them out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.encoded import Ragged
from tunesmith.errors import RunError
from tunesmith.monitoring.observed import Observed
from tunesmith.monitoring.texts import Vocabulary
from tunesmith.run import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE = "reference.safetensors"
"""Name of the file in the `data` folder of a run."""

FORMAT = 1
MOST_ROWS = 2_000
ENOUGH_ROWS = 1_000
"""Test rows to which no validation rows are added."""
_NUMBER = "number."


@dataclass(frozen=True)
class Reference:
    """What new rows are compared with.

    Args:
        rows: held-out rows.
        labels: names of the labels, by their codes; empty where answers are no labels.
        vocabulary: the words of the training texts.
        task: name of the task.
        split: the split of the rows whose scores are known.
    """

    rows: Observed
    labels: tuple[str, ...]
    vocabulary: Vocabulary
    task: str
    split: str

    @cached_property
    def codes(self) -> Mapping[str, int]:
        """The code of each label."""
        return {label: code for code, label in enumerate(self.labels)}

    def code_of(self, label: str) -> int:
        """The code of a label; that of all others where it is not known."""
        return self.codes.get(label, len(self.labels))

    def save(self, folder: Path) -> None:
        """Writes `reference.safetensors`."""
        from safetensors.numpy import save

        tensors, rows = _tensors(self.rows), self.rows
        said = {
            "format": FORMAT, "rows": rows.n, "labels": self.labels, "task": self.task, "split": self.split,
            "languages": list(rows.languages), "vocabulary": dict(self.vocabulary.shares),
            "n_texts": self.vocabulary.n_texts, "names": list(rows.names),
        }  # fmt: skip
        metadata = {"reference": json.dumps(said, ensure_ascii=False)}
        write_atomically(folder / FILE, save(tensors, metadata=metadata))

    @classmethod
    def load(cls, folder: Path) -> Reference | None:
        """Reads the file of `save`; None where the run has none.

        Raises:
            RunError: the file is damaged, or a newer version wrote it.
        """
        from safetensors import SafetensorError, safe_open

        path = folder / FILE
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="np") as file:
                said = json.loads(file.metadata()["reference"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise RunError(
                f"the file cannot be read: {error}.", location=str(path),
                remedy="Remove it: it is made again from the data of the run, as long as they are there.",
            ) from None  # fmt: skip
        if said["format"] > FORMAT:
            raise RunError(
                "a newer version of tunesmith wrote the file.", location=str(path), remedy="Update tunesmith."
            )
        vocabulary = Vocabulary(said["vocabulary"], said["n_texts"])
        rows = _observed(said["rows"], tensors, said["languages"], said["names"])
        return cls(rows, tuple(said["labels"]), vocabulary, said["task"], said["split"])


def _tensors(rows: Observed) -> dict[str, NDArray[Any]]:
    """What is saved of rows, small: two bytes for a number of a vector, four for another."""
    found: dict[str, NDArray[Any]] = {
        _NUMBER + name: np.asarray(values, dtype=np.float32) for name, values in rows.numbers.items()
    }
    for name, vectors in (("vectors", rows.vectors), ("words", rows.words)):
        if vectors is not None:
            found[name] = np.ascontiguousarray(vectors, dtype=np.float16)
    if rows.answers is not None:
        found["answers"] = np.asarray(rows.answers.values, dtype=np.int32)
        found["answer_offsets"] = np.asarray(rows.answers.offsets, dtype=np.int64)
    return found


def _observed(
    n: int, tensors: Mapping[str, NDArray[Any]], languages: list[str], names: list[str]
) -> Observed:
    numbers = {
        name.removeprefix(_NUMBER): values.astype(np.float64)
        for name, values in tensors.items()
        if name.startswith(_NUMBER)
    }
    vectors, words = (
        tensors[name].astype(np.float32) if name in tensors else None for name in ("vectors", "words")
    )
    answers = Ragged(tensors["answers"], tensors["answer_offsets"]) if "answers" in tensors else None
    return Observed(n, numbers, vectors, words, answers, languages, names=names)
