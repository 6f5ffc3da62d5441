"""Finds a training that hangs: nothing has happened for an hour, so its stacks are written and it is stopped.

Every event is a sign of life. A training on several processes hangs when one of them does, because the others wait
for it; the first process sees that. Its file with stacks tells the other processes to write theirs, one of which
shows what they all wait for. Each is stopped as by SIGTERM, which saves everything where Python still runs. A
process that does not even do that, in a call that never returns, is ended with the same exit code.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tunesmith.errors import InterruptedRunError, RecipeError

VARIABLE = "TUNESMITH_STALL_S"
_DEFAULT_S = 3600.0
_LAST_CHANCE_S = 60.0
_OTHERS_LOOK_S = 5.0
FILE = "stalled.txt"
"""File of the run folder with the stacks of all threads of the first process."""


def stacks_file(rank: int) -> str:
    """The name of the file in the run folder with the stacks of one process."""
    return FILE if not rank else f"stalled-{rank}.txt"


class Heartbeat:
    """A listener for which every event is a sign of life.

    Args:
        limit_s: seconds without an event after which the training is stopped; 0 for no limit.
        last_chance_s: seconds that it then has to stop by itself.
        rank: number of this process; those after the first stop when the first one does.
    """

    def __init__(self, limit_s: float, last_chance_s: float = _LAST_CHANCE_S, rank: int = 0) -> None:
        self.limit_s, self.last_chance_s, self.rank = limit_s, last_chance_s, rank
        self._last = time.monotonic()
        self._ended = threading.Event()

    def __call__(self, event: object) -> None:
        """Notes that something happened."""
        self._last = time.monotonic()

    @contextlib.contextmanager
    def watching(self, run: Path) -> Iterator[None]:
        """A context in which the training is watched, if there is a limit.

        Args:
            run: folder of the run, for the stacks.
        """
        # In another thread of a program, the signal would end the program and not the training.
        if not self.limit_s or threading.current_thread() is not threading.main_thread():
            yield
            return
        thread = threading.Thread(target=self._watch, args=(run,), name="heartbeat", daemon=True)
        self._last = time.monotonic()
        thread.start()
        try:
            yield
        finally:
            self._ended.set()

    def _watch(self, run: Path) -> None:
        began = _written(run / FILE)
        while not self._ended.wait(min(self.limit_s / 4, _OTHERS_LOOK_S)):
            silent = time.monotonic() - self._last > self.limit_s
            if silent if not self.rank else _written(run / FILE) != began:
                self._stop(run)
                return

    def _stop(self, run: Path) -> None:
        where = run / stacks_file(self.rank)
        with contextlib.suppress(OSError), where.open("w", encoding="utf-8") as file:
            faulthandler.dump_traceback(file)
        if not self.rank:
            said = f"nothing has happened for {self.limit_s:g} s: the training is stopped; its stacks are in"
            os.write(2, f"error: {said} {where}\n".encode())
        os.kill(os.getpid(), signal.SIGTERM)
        # The first process is the last one, so that it can see that the others have ended, and say so.
        if not self._ended.wait(self.last_chance_s / 2 if self.rank else self.last_chance_s):
            os._exit(InterruptedRunError.exit_code)


def _written(path: Path) -> int:
    """When a file was written, in nanoseconds; 0 without it."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def stall_limit() -> float:
    """Seconds without an event after which a training is taken to hang: `TUNESMITH_STALL_S`, else an hour.

    Raises:
        RecipeError: the variable is not a number.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        value = float(text) if text else _DEFAULT_S
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise RecipeError(
            f"{VARIABLE} must be a number of seconds, got `{text}`.",
            remedy=f"The default is {_DEFAULT_S:g}; 0 switches it off.",
        )
    return value
