"""Every random choice is a function of (seed, purpose, position), so there is no random state to save.

A run that resumes at step 417 draws the same order, the same dropout masks and the same masks of tokens as a run
that was never stopped, because no draw depends on an earlier draw. The function is SHA-256.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit number that depends only on the arguments."""
    text = "/".join([str(seed), purpose, *map(str, position)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """A random generator for one purpose at one position."""
    return np.random.Generator(np.random.PCG64(derive(seed, purpose, *position)))


def seed_torch(seed: int, purpose: str, *position: int) -> torch.Generator:
    """Seeds torch's global generators, which dropout uses."""
    import torch

    return torch.manual_seed(derive(seed, purpose, *position))
