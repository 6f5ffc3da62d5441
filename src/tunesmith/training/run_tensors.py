"""What a run computes once and keeps: a fitted head, and what the base model says of the rows.

Such a file holds the id of its run, and a SHA-256 of that and of its tensors. A damaged file is made again, which
gives the same. One of another run would fit by its shapes and give other weights, so it is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.errors import RunError
from tunesmith.run import write_atomically

if TYPE_CHECKING:
    from tunesmith.types import Array

_ENTRY = "run"


def save_of_run(path: Path, tensors: Mapping[str, Array], run_id: str) -> None:
    """Writes a safetensors file that belongs to a run.

    Args:
        path: file to write.
        tensors: arrays, by name.
        run_id: id of the run.
    """
    from safetensors.numpy import save

    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    # One entry: of several, the library writes any one first, and the same run must give the same bytes.
    write_atomically(path, save(whole, metadata={_ENTRY: f"{run_id} {_sum(whole, run_id)}"}))


def load_of_run(path: Path, run_id: str) -> dict[str, Array] | None:
    """Reads the file of `save_of_run`; None if it is missing, damaged or of an earlier version.

    Args:
        path: file to read.
        run_id: id of the run that it must belong to.

    Raises:
        RunError: it belongs to another run.
    """
    found = _read(path)
    if found is None:
        return None
    tensors, owner = found
    if owner != run_id:
        raise RunError(
            f"a file must be of the run `{run_id}`, and `{path}` is of the run `{owner}`.",
            remedy="Move it back to its own run, or remove it: it is made again.",
        )
    return tensors


def lend_to_run(path: Path, target: Path, run_id: str) -> None:
    """Copies a whole file of `save_of_run` to another run, which has the same base model and rows.

    Args:
        path: file of any run.
        target: file to write.
        run_id: id of the other run.
    """
    found = _read(path)
    if found is not None:
        save_of_run(target, found[0], run_id)


def _read(path: Path) -> tuple[dict[str, Array], str] | None:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            owner, _, checksum = file.metadata()[_ENTRY].partition(" ")
            return (tensors, owner) if checksum == _sum(tensors, owner) else None
    except (SafetensorError, KeyError, TypeError):
        return None


def _sum(tensors: Mapping[str, Array], run_id: str) -> str:
    digest = hashlib.sha256(run_id.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode() + tensor.tobytes())
    return digest.hexdigest()
