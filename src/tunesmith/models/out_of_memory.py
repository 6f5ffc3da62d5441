"""A model that the memory is too small for, told from one that is unfit."""

from __future__ import annotations

import re

from tunesmith.errors import ModelError
from tunesmith.models.resolve import ModelFiles

# torch raises a bare RuntimeError where the memory of the machine is short.
_SAYS_SO = re.compile(
    r"DefaultCPUAllocator: (can't allocate|not enough) memory|out of memory|Cannot allocate memory", re.I
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an operation failed for want of memory."""
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or _SAYS_SO.search(str(error)) is not None


def refuse_too_large(error: BaseException, files: ModelFiles) -> None:
    """Raises where an error says that the memory is too small for a model; else nothing happens.

    Args:
        error: that came while the model was opened or tried.
        files: of the model.

    Raises:
        ModelError: it does.
    """
    if is_out_of_memory(error):
        raise ModelError(
            f"the memory is too small for `{files.name}`: it ran out on a short text, or before.",
            remedy="Free memory, choose a smaller model, or use a machine with more memory.",
            location=str(files.path),
        ) from error
