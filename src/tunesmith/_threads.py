"""How long the threads of a matrix product wait for each other before they let others compute."""

from __future__ import annotations

import os

_SPINS = "3000"


def share_the_cores() -> None:
    """Lets a waiting thread of OpenMP sleep soon, before torch is imported; a user's own setting stays.

    Threads meet at the end of every operation, and GNU's library lets the one that comes first spin 300,000 times
    before it sleeps: milliseconds, in which the other thread may be waiting for just this core, because another
    program runs too. There are some thousand meetings in a training step (docs/performance.md has figures).
    """
    if not any(name in os.environ for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")):
        os.environ["GOMP_SPINCOUNT"] = _SPINS
