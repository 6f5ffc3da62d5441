"""Every random choice is a function of (seed, purpose, position), so there is no random state to save.

A run that resumes at step 417 draws the same order, the same dropout masks and the same masking as one that
was never stopped, because nothing it draws depends on what was drawn before. The function is SHA-256.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit number that depends on all arguments and on nothing else."""
    text = "/".join([str(seed), purpose, *map(str, position)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """A generator for one purpose at one position."""
    return np.random.Generator(np.random.PCG64(derive(seed, purpose, *position)))


def seed_torch(seed: int, purpose: str, *position: int) -> torch.Generator:
    """Sets torch's global generators, which dropout draws from."""
    import torch

    return torch.manual_seed(derive(seed, purpose, *position))
