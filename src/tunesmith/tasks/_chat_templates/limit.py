"""Limits for code that comes with a model: its chat template, which may loop for hours, or fill the memory.

A thread looks at the clock, and raises an error in the thread that renders. This reaches the bytecode of a
template in any thread, and costs a rendering nothing but two entries in a table. It does not reach a single
operation: a huge text is refused by the kernel (`limited_memory`), and a power, which may take hours, beforehand.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from tunesmith.memory_limit import limited_memory

_PERIOD_S = 0.25
_MOST_BYTES = 2**32
"""Bytes that a rendering may take. The longest conversations take some megabytes; the rest is for other threads of
a server, which may start threads of their own meanwhile, and each has addresses for its stack."""
_MOST_CHARACTERS = 2**20
"""Of a template; the longest ones that are known have 30,000."""


class TimeLimitError(Exception):
    """The code took longer than it may."""


class RefusedTemplateError(Exception):
    """The template asks for what none needs."""


class _Watch:
    """The thread, and until when each thread may render."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[int, float] = {}
        self._process = 0

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """A context that raises TimeLimitError in this thread when it lasts too long, MemoryError for too much."""
        thread = threading.get_ident()
        with self._lock:
            self._begin()
            self._until[thread] = time.monotonic() + seconds
        try:
            with limited_memory(_MOST_BYTES):
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


@lru_cache(maxsize=16)
def refuse_costly(template: str) -> None:
    """Raises RefusedTemplateError for a template with a power: `9**9**9` is one operation, and takes hours.

    Args:
        template: source of the template.
    """
    from jinja2 import Environment

    if len(template) > _MOST_CHARACTERS:
        raise RefusedTemplateError(f"it has {len(template):,} characters")
    before = ""
    for _, kind, value in Environment(autoescape=False).lex(template):
        if kind == "operator" and value == "**" and before not in ("(", ","):  # there, it passes keywords
            raise RefusedTemplateError("it computes a power (`**`)")
        before = before if kind == "whitespace" else value
