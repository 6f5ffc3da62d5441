"""What the model thought before it was trained: the likelihoods that a preference loss compares with.

Computed once from the base model and kept in the run folder, so that no second model stands in memory
while training, and a run that goes on does not need the first one's weights again.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunesmith.encoded import Encoded
from tunesmith.run import write_atomically


def with_reference(encoded: Encoded, reference: NDArray[np.float32]) -> Encoded:
    """The sequences with the reference's log-likelihoods beside them: [sequences, 2], chosen and rejected."""
    return replace(encoded, dense={**encoded.dense, "reference": reference})


def save_reference(path: Path, reference: NDArray[np.float32]) -> None:
    """Writes the likelihoods into a safetensors file that holds their SHA-256."""
    from safetensors.numpy import save

    reference = np.ascontiguousarray(reference)
    write_atomically(path, save({"reference": reference}, metadata={"sha256": _sum(reference)}))


def load_reference(path: Path) -> NDArray[np.float32] | None:
    """Reads what `save_reference` wrote; None when it is missing or damaged, to be computed again."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            reference: NDArray[np.float32] = file.get_tensor("reference")
            return reference if file.metadata()["sha256"] == _sum(reference) else None
    except (SafetensorError, KeyError, TypeError):
        return None


def _sum(reference: NDArray[np.float32]) -> str:
    return hashlib.sha256(reference.tobytes()).hexdigest()
