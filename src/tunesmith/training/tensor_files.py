"""Tensors in safetensors files that are on disk, and read back as they were written, when the call returns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import RunError
from tunesmith.run.files import sync, system_errors

if TYPE_CHECKING:
    import torch

_CHUNK_BYTES = 2**18


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> str:
    """Writes a file and returns its SHA-256.

    Raises:
        RunError: the file is not read back as it was written.
    """
    from safetensors.torch import save_file

    written = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with system_errors(path):
        save_file(written, path)
    sync(path)
    checksum = _checksum_if_equal(path, written)
    if checksum is None:
        raise RunError(
            f"a file must be read back as it was written, and `{path.name}` was not.",
            location=str(path.parent),
            remedy="Check the disk; the same command resumes from the checkpoint before.",
        )
    return checksum


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file, by name."""
    from safetensors.torch import load_file

    loaded: dict[str, torch.Tensor] = load_file(path)
    return loaded


def bytes_of(tensors: Mapping[str, torch.Tensor]) -> int:
    """Bytes of tensors on disk."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def in_words(size: int) -> str:
    """A number of bytes: `1.3 GB`, or `25.0 MB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _checksum_if_equal(path: Path, tensors: Mapping[str, torch.Tensor]) -> str | None:
    """SHA-256 of a file, or None where its names, shapes or bytes are not those of the tensors.

    The file is read once for both: bytes in the processor's cache are compared in a fraction of the time that the
    checksum takes. Layout of safetensors: 8 bytes with the size of a JSON header, the header, tensors by offset.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = file.read(8)
        header = file.read(int.from_bytes(size, "little"))
        digest.update(size + header)
        shapes = _shapes_by_offset(header)
        if shapes != {name: list(tensor.shape) for name, tensor in tensors.items()}:
            return None
        for name in shapes:
            expected = _bytes_of(tensors[name])
            for start in range(0, len(expected), _CHUNK_BYTES):
                # Bytes, because views are compared one element at a time.
                chunk = expected[start : start + _CHUNK_BYTES].tobytes()
                if file.read(len(chunk)) != chunk:
                    return None
                digest.update(chunk)
        return None if file.read(1) else digest.hexdigest()


def _shapes_by_offset(header: bytes) -> dict[str, list[int]] | None:
    try:
        facts = json.loads(header)
        names = sorted(facts, key=lambda name: tuple(facts[name]["data_offsets"]))
        return {name: facts[name]["shape"] for name in names}
    except (ValueError, KeyError, TypeError):
        return None


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    import torch

    return tensor.cpu().reshape(-1).view(torch.uint8).numpy().data
