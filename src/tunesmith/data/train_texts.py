"""The texts that a run was trained on, as hashes: so `evaluate` finds rows that were trained on.

A hash is 64 bits of the key by which duplicates are found (`data/splits.py`); the file has 8 bytes a text. Two
different texts among a million training and a million scored ones share a hash with a probability of 5e-8.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.examples import Examples
from tunesmith.data.splits import text_keys
from tunesmith.run import write_atomically


def text_hashes(examples: Examples) -> NDArray[np.uint64]:
    """[rows], a hash of each row's inputs; rows whose inputs are equal after `normalised` have equal hashes."""
    return np.frombuffer(text_keys(examples).tobytes(), dtype="<u8")[::2].astype(np.uint64)


def write_train_texts(path: Path, train: Examples) -> None:
    """Writes the hashes of the training rows, sorted and each once."""
    buffer = io.BytesIO()
    np.save(buffer, np.unique(text_hashes(train)), allow_pickle=False)
    write_atomically(path, buffer.getvalue())


def read_train_texts(path: Path) -> NDArray[np.uint64] | None:
    """The hashes of `write_train_texts`; None where an earlier version made the run and did not write them."""
    if not path.is_file():
        return None
    hashes: NDArray[np.uint64] = np.load(path, allow_pickle=False)
    return hashes
