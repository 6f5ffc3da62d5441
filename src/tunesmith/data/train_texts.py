"""The texts that a run was trained on, as hashes of their words: so scored rows that were trained on are found.

The file has 24 bytes a text and 4 bytes for each of its distinct words, of which at most 128 are kept. A run of an
earlier version has a file of 8 bytes a text, by which only the same texts are found.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.examples import Examples
from tunesmith.data.near_copies import Copies, Level, WordSets, text_hashes, word_sets
from tunesmith.run import write_atomically

_FILE, _FILE_OF_HASHES = "train_texts.npz", "train_texts.npy"


@dataclass(frozen=True)
class TrainTexts:
    """The texts of training rows.

    Args:
        exact: hashes of the texts.
        texts: their words; None where an earlier version made the run.
        level: what makes a copy of such a text.
    """

    exact: NDArray[np.uint64]
    texts: WordSets | None = None
    level: Level | None = None

    @classmethod
    def of(cls, train: Examples) -> TrainTexts:
        """The texts of some rows."""
        texts = word_sets(train)
        first = np.sort(np.unique(texts.exact, return_index=True)[1])
        texts = texts.take(first)
        return cls(texts.exact, texts, Copies(texts).level)

    def seen(self, examples: Examples) -> NDArray[np.float32]:
        """[rows], how similar each row is to a training text; 1 for the same text, 0 for one that is no copy."""
        if self.texts is None:
            return np.isin(text_hashes(examples), self.exact).astype(np.float32)
        found = np.zeros(len(examples), dtype=np.float32)
        n_known, rows = len(self.texts), word_sets(examples)
        copies = Copies(WordSets.join([self.texts, rows]), known=n_known, level=self.level)
        matches = copies.between(range(n_known, n_known + len(rows)), range(n_known))
        for row, (_, similarity) in matches.items():
            found[row - n_known] = similarity
        return found


def write_train_texts(folder: Path, train: Examples) -> None:
    """Writes the texts of the training rows, each once, into the folder of a run's data."""
    found = TrainTexts.of(train)
    assert found.texts is not None
    assert found.level is not None
    buffer = io.BytesIO()
    level = np.array([found.level.similarity, found.level.bits])
    arrays = {name: getattr(found.texts, name) for name in ("words", "offsets", "keys", "exact")}
    np.savez(buffer, level=level, **arrays)
    write_atomically(folder / _FILE, buffer.getvalue())


def read_train_texts(folder: Path) -> TrainTexts | None:
    """What `write_train_texts` wrote; None where an earlier version made the run and wrote nothing.

    Args:
        folder: folder of the run's data.
    """
    if (folder / _FILE).is_file():
        with np.load(folder / _FILE, allow_pickle=False) as file:
            texts = WordSets(file["words"], file["offsets"], file["keys"], file["exact"])
            return TrainTexts(texts.exact, texts, Level(*map(float, file["level"])))
    if not (folder / _FILE_OF_HASHES).is_file():
        return None
    return TrainTexts(np.load(folder / _FILE_OF_HASHES, allow_pickle=False))
