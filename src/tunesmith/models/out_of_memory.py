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

_CONTROL_GROUP = Path("/sys/fs/cgroup/memory.events")
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

    The count is that of the control group where there is one, else that of the machine; empty where there is none.
    """
    try:
        booted = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return {}
    for path in (_CONTROL_GROUP, Path("/proc/vmstat")):
        with contextlib.suppress(OSError):
            found = _KILLS.search(path.read_text(encoding="ascii"))
            if found is not None:
                return {"booted": booted, "kills": int(found[1])}
    return {}


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
