"""A time limit for code that comes with a model: its chat template, which may loop for hours.

A thread looks at the clock, and raises an error in the thread that renders. This reaches the bytecode of a
template in any thread, and costs a rendering nothing but two entries in a table.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PERIOD_S = 0.25


class TimeLimitError(Exception):
    """The code took longer than it may."""


class _Watch:
    """The thread, and until when each thread may render."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[int, float] = {}
        self._process = 0

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """A context that raises TimeLimitError in this thread when it lasts too long."""
        thread = threading.get_ident()
        with self._lock:
            self._begin()
            self._until[thread] = time.monotonic() + seconds
        try:
            yield
        finally:
            with self._lock:
                self._until.pop(thread, None)

    def _begin(self) -> None:
        if self._process != os.getpid():  # a fork has no thread
            self._process = os.getpid()
            self._until.clear()
            threading.Thread(target=self._look, name="template-limit", daemon=True).start()

    def _look(self) -> None:
        while True:
            time.sleep(_PERIOD_S)
            with self._lock:
                now = time.monotonic()
                late = [thread for thread, until in self._until.items() if now > until]
                for thread in late:
                    del self._until[thread]
                    raised = ctypes.py_object(TimeLimitError)
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)


limited = _Watch().limited
