"""Ctrl-C and SIGTERM ask the loop to stop after the current step; a second Ctrl-C stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

from tunesmith.errors import InterruptedRunError

_Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


class StopRequest:
    """A context in which a signal is a request to stop.

    Python delivers signals only to the main thread; in other threads, it never becomes true.

    Args:
        until_the_end: whether signals stay requests after a stop. A launcher that sees one process end sends
            SIGTERM to the others, which are about to end with an exit code of their own.
    """

    def __init__(self, *, until_the_end: bool = False) -> None:
        self.until_the_end = until_the_end
        self.signal_name = ""
        self._before: dict[int, _Handler] = {}

    def __bool__(self) -> bool:
        return bool(self.signal_name)

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.until_the_end and isinstance(error, InterruptedRunError):
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal_name and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name
