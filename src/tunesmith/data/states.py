"""Hidden states of many tokens in a file: computed once, memory-mapped, read at random.

An entry is a folder of plain `.npy` arrays, `states` [n, d] and `places` [n], with a SHA-256 of the states
beside them, written under another name and renamed when it is whole. bfloat16, which numpy does not know, stands
there as the same bits in 16-bit whole numbers. The states of a million texts are larger than their texts a
hundredfold, so entries go, the one that was not used for the longest time first, when all take more than
`MOST_KEPT_BYTES` after a run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

MOST_KEPT_BYTES = 4 * 2**30
"""What stays in the folder between runs."""

_BLOCK = 2**24
_STATES, _PLACES, _FACTS = "states.npy", "places.npy", "facts.json"


@dataclass(frozen=True)
class States:
    """Hidden states of tokens, one after the other.

    Args:
        values: [n, d], float32, or the bits of bfloat16 as uint16.
        places: [n], what stands for each token in the place of its id: whole numbers in sequence.
    """

    values: NDArray[Any]
    places: NDArray[Any]

    def at(self, places: torch.Tensor) -> torch.Tensor:
        """[…, d] in float32 of places […]; padding, a number below all places, gets the first token's.

        No token attends to padding, so its states count for nothing; they must only be finite.
        """
        import torch

        rows = (places.cpu() - int(self.places[0])).clamp_(min=0)
        taken = torch.from_numpy(self.values[rows.numpy()])
        if taken.dtype == torch.uint16:
            taken = taken.view(torch.bfloat16)
        return taken.to(places.device).float()

    def put(self, places: torch.Tensor, states: torch.Tensor) -> None:
        """Writes states [m, d] of places [m]."""
        import torch

        rows = (places.cpu() - int(self.places[0])).numpy()
        states = states.detach().cpu()
        if self.values.dtype == np.uint16:
            self.values[rows] = states.to(torch.bfloat16).view(torch.uint16).numpy()
        else:
            self.values[rows] = states.float().numpy()


def bytes_of(n: int, d: int, *, bf16: bool) -> int:
    """Bytes on disk of n states of d features."""
    return n * (d * (2 if bf16 else 4) + int(np.dtype(_place_type(0, n)).itemsize))


def load_states(entry: Path) -> States | None:
    """Opens an entry; None when it is missing or damaged, to be computed again."""
    try:
        facts = json.loads((entry / _FACTS).read_text(encoding="utf-8"))
        values = np.load(entry / _STATES, mmap_mode="r", allow_pickle=False)
        places = np.load(entry / _PLACES, mmap_mode="r", allow_pickle=False)
        if facts["sha256"] != _sum(values) or len(values) != len(places):
            return None
        os.utime(entry)  # used now
        return States(np.asarray(values), np.asarray(places))
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def new_states(entry: Path, n: int, d: int, *, first: int, bf16: bool) -> Iterator[States]:
    """States to be filled; the entry exists when the context ends without an error.

    Args:
        entry: folder that will hold them.
        n: states.
        d: features of each.
        first: the lowest place.
        bf16: keep them rounded to bfloat16.

    Raises:
        OSError: the disk is full.
    """
    entry.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f"{_aside(os.getpid())}-"))
    try:
        values = _array(aside / _STATES, (n, d), np.uint16 if bf16 else np.float32)
        places = _array(aside / _PLACES, (n,), _place_type(first, n))
        for start in range(0, n, _BLOCK):
            places[start : start + _BLOCK] = first + np.arange(start, min(start + _BLOCK, n))
        yield States(values, places)
        facts = {"sha256": _sum(values)}
        (aside / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
        shutil.rmtree(entry, ignore_errors=True)  # a damaged one
        with contextlib.suppress(OSError):  # another process was faster, and its entry is the same
            aside.rename(entry)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def free_bytes(folder: Path) -> int:
    """What is left on the disk of a folder, which need not exist yet."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    return shutil.disk_usage(there).free


def remove_old(folder: Path, most_bytes: int, kept: Collection[Path] = ()) -> None:
    """Removes the entries that were not used for the longest time, until all take at most so many bytes.

    A process that has one of them open goes on reading it. What a process that was killed left half written goes,
    too.

    Args:
        folder: of the entries.
        most_bytes: of those that stay.
        kept: entries that stay, whatever their size.
    """
    for aside in folder.glob(".new-*"):
        if _is_left_behind(aside.name):
            shutil.rmtree(aside, ignore_errors=True)
    total = 0
    entries = [path for path in folder.glob("[0-9a-f]*") if path.is_dir()]
    for entry in sorted(entries, key=lambda path: (path in kept, _age_key(path)), reverse=True):
        total += sum(file.stat().st_size for file in entry.glob("*") if file.is_file())
        if total > most_bytes and entry not in kept:
            shutil.rmtree(entry, ignore_errors=True)


def _array(path: Path, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """A new `.npy` file, mapped; its disk space is taken at once, for a full disk would end the process later."""
    values = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return np.asarray(values)


def _sum(values: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    rows = max(1, _BLOCK // max(1, values[:1].nbytes))
    for start in range(0, len(values), rows):
        digest.update(np.ascontiguousarray(values[start : start + rows]).data)
    return digest.hexdigest()


def _place_type(first: int, n: int) -> Any:
    return np.int32 if first + n < 2**31 else np.int64


def _aside(process: int) -> str:
    return f".new-{platform.node()}-{process}"


def _is_left_behind(name: str) -> bool:
    """Whether the process of this machine that was writing it is gone."""
    import psutil

    node, process = name.removeprefix(".new-").rsplit("-", 2)[:2]
    return node == platform.node() and process.isdigit() and not psutil.pid_exists(int(process))


def _age_key(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has removed it
        return 0.0
