"""Hidden states of many tokens in a file: computed once, memory-mapped, read in any order.

An entry of the cache holds two plain `.npy` arrays, `states` [n, d] and `places` [n]. numpy does not know
bfloat16, so its bits are stored as 16-bit integers. The states of a million texts are a hundred times as large as
the texts; the limits of the cache exist because of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.cache import new_entry, open_entry

if TYPE_CHECKING:
    import torch
    from numpy.typing import DTypeLike

    from tunesmith.types import Array

FROZEN = "frozen"
"""The folder of the entries within the cache."""

_BLOCK = 2**24
_OVERHEAD_BYTES = 520  # headers of the arrays, and the entry's checksums
_STATES, _PLACES = "states.npy", "places.npy"


@dataclass(frozen=True)
class States:
    """Hidden states of tokens, one after the other.

    Args:
        values: [n, d], float32, or the bits of bfloat16 as uint16.
        places: [n], consecutive integers that replace the token ids.
    """

    values: Array
    places: Array

    def at(self, places: torch.Tensor) -> torch.Tensor:
        """[…, d] in float32, the states of places […]; padding, a number below all places, gets the first token's.

        No token attends to padding, so its states have no effect; they must only be finite.
        """
        import torch

        rows = (places.cpu() - int(self.places[0])).clamp_(min=0)
        taken = torch.from_numpy(self.values[rows.numpy()])
        if taken.dtype == torch.uint16:
            taken = taken.view(torch.bfloat16)
        return taken.to(places.device).float()

    def put(self, places: torch.Tensor, states: torch.Tensor) -> None:
        """Writes the states [m, d] of places [m]."""
        import torch

        rows = (places.cpu() - int(self.places[0])).numpy()
        states = states.detach().cpu()
        if self.values.dtype == np.uint16:
            self.values[rows] = states.to(torch.bfloat16).view(torch.uint16).numpy()
        else:
            self.values[rows] = states.float().numpy()


def bytes_of(n: int, d: int, *, bf16: bool) -> int:
    """Bytes on disk of n states of d features."""
    return n * (d * (2 if bf16 else 4) + int(np.dtype(_place_type(0, n)).itemsize)) + _OVERHEAD_BYTES


def load_states(entry: Path) -> States | None:
    """Opens an entry; None if it is missing or damaged, and must be computed again."""
    try:
        if open_entry(entry) is None:
            return None
        values = np.load(entry / _STATES, mmap_mode="r", allow_pickle=False)
        places = np.load(entry / _PLACES, mmap_mode="r", allow_pickle=False)
        return States(np.asarray(values), np.asarray(places))
    except (OSError, EOFError, ValueError):  # removed meanwhile
        return None


@contextlib.contextmanager
def new_states(entry: Path, n: int, d: int, *, first: int, bf16: bool) -> Iterator[States]:
    """States to be filled; the entry exists if the context ends without an error.

    Args:
        entry: folder that will hold the states.
        n: number of states.
        d: number of features of each state.
        first: lowest place.
        bf16: whether the states are rounded to bfloat16.

    Raises:
        OSError: the disk is full.
    """
    with new_entry(entry) as (aside, _):
        values = _array(aside / _STATES, (n, d), np.uint16 if bf16 else np.float32)
        places = _array(aside / _PLACES, (n,), _place_type(first, n))
        for start in range(0, n, _BLOCK):
            places[start : start + _BLOCK] = first + np.arange(start, min(start + _BLOCK, n))
        yield States(values, places)


def _array(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """A new mapped `.npy` file; its space is allocated at once: a full disk would kill the process later."""
    values = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return np.asarray(values)


def _place_type(first: int, n: int) -> type[np.signedinteger]:
    return np.int32 if first + n < 2**31 else np.int64
