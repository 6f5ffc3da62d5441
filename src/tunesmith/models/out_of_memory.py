"""Recognises errors that mean too little memory, so that these are not reported as an unsuitable model."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import ModelError
from tunesmith.models.resolve import ModelFiles

if TYPE_CHECKING:
    from torch import nn

    from tunesmith.types import JsonObject

_GROUP = Path("/sys/fs/cgroup")
"""The control group of a container, which sees itself as the root (version 2)."""
_MACHINE = Path("/proc/vmstat")
_KILLS = re.compile(r"^oom_kill (\d+)$", re.M)
# torch raises a plain RuntimeError if the memory of the machine is too small.
_SAYS_SO = re.compile(
    r"DefaultCPUAllocator: (can't allocate|not enough) memory|out of memory|Cannot allocate memory", re.I
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an operation failed because there was too little memory."""
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or _SAYS_SO.search(str(error)) is not None


def kills_for_memory() -> JsonObject:
    """How many processes the kernel has killed because the memory was full, since when the machine started.

    The count of the machine has those of other containers, and the count of a container begins again when it is
    started again, so both are there; empty where the system counts neither.
    """
    try:
        booted = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return {}
    found: JsonObject = {"booted": booted}
    if (kills := _kills_in(_MACHINE)) is not None:
        found["kills"] = kills
    if (kills := _kills_in(_GROUP / "memory.events")) is not None:
        found |= {"group": _GROUP.stat().st_ino, "group_kills": kills}
    return found if len(found) > 1 else {}


def killed_since(before: JsonObject) -> bool:
    """Whether the kernel has killed a process for memory since an earlier result of `kills_for_memory`."""
    now = kills_for_memory()
    if not before or before.get("booted") != now.get("booted"):
        return False
    count = "group_kills" if "group" in now and before.get("group") == now["group"] else "kills"
    return bool(now.get(count, 0) > before.get(count, 0))


def _kills_in(path: Path) -> int | None:
    with contextlib.suppress(OSError):
        if found := _KILLS.search(path.read_text(encoding="ascii")):
            return int(found[1])
    return None


def free_cached_memory(model: nn.Module) -> None:
    """Gives memory that torch keeps for later tensors back to the device."""
    import gc

    import torch

    gc.collect()
    if next(model.parameters()).device.type == "cuda":
        torch.cuda.empty_cache()


def refuse_too_large(error: BaseException, files: ModelFiles) -> None:
    """Raises if an error means that the memory is too small for a model.

    Args:
        error: error that was raised when the model was opened or tried.
        files: files of the model.

    Raises:
        ModelError: the memory is too small.
    """
    if is_out_of_memory(error):
        raise ModelError(
            f"the memory is too small for `{files.name}`: it was used up on a short text, or before.",
            remedy="Free memory, choose a smaller model, or use a machine with more memory.",
            location=str(files.path),
        ) from error
