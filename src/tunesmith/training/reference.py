"""What the base model says of the rows, kept in the run folder: for a preference loss, and for its scores.

It is computed once with the base model. So no second model is in memory during
training, and a resumed run does not need the base model's weights again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunesmith.encoded import Encoded
from tunesmith.training.run_tensors import load_of_run, save_of_run


def with_reference(encoded: Encoded, reference: NDArray[np.floating]) -> Encoded:
    """The sequences with the reference log-likelihoods [sequences, 2], of the chosen and the rejected reply."""
    return replace(encoded, dense={**encoded.dense, "reference": reference})


def save_reference(path: Path, reference: NDArray[np.floating], run_id: str) -> None:
    """Writes what the base model says of each row to a safetensors file that belongs to a run."""
    save_of_run(path, {"reference": reference}, run_id)


def load_reference(path: Path, run_id: str) -> NDArray[np.floating] | None:
    """Reads the file of `save_reference`; None if it is missing or damaged, and must be computed again.

    Raises:
        RunError: it belongs to another run.
    """
    found = load_of_run(path, run_id)
    return None if found is None else found.get("reference")
