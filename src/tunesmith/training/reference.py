"""What the base model says of the rows, kept in the run folder: for a preference loss, and for its scores.

It is computed once with the base model. So no second model is in memory during
training, and a resumed run does not need the base model's weights again.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunesmith.encoded import Encoded
from tunesmith.run import write_atomically


def with_reference(encoded: Encoded, reference: NDArray[np.floating]) -> Encoded:
    """The sequences with the reference log-likelihoods [sequences, 2], of the chosen and the rejected reply."""
    return replace(encoded, dense={**encoded.dense, "reference": reference})


def save_reference(path: Path, reference: NDArray[np.floating]) -> None:
    """Writes what the base model says of each row to a safetensors file, with their SHA-256."""
    from safetensors.numpy import save

    reference = np.ascontiguousarray(reference)
    write_atomically(path, save({"reference": reference}, metadata={"sha256": _sum(reference)}))


def load_reference(path: Path) -> NDArray[np.floating] | None:
    """Reads the file of `save_reference`; None if it is missing or damaged, and must be computed again."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            reference: NDArray[np.floating] = file.get_tensor("reference")
            return reference if file.metadata()["sha256"] == _sum(reference) else None
    except (SafetensorError, KeyError, TypeError):
        return None


def _sum(reference: NDArray[np.floating]) -> str:
    return hashlib.sha256(reference.tobytes()).hexdigest()
