"""Ctrl-C, SIGTERM and SIGUSR1 stop a training; a second one of any of them stops it at once.

A signal either raises `StopSignal` where the main thread is, since everything that is written appears whole or not
at all; or it is noted, and the loop saves and stops after the pass that is under way. `StopSignal` is no
`Exception`, so that no code that goes on after an error goes on after a signal.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType

from tunesmith.errors import InterruptedRunError

_Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Signals that stop a training; schedulers of clusters send the last one some minutes before the time is over."""


class StopSignal(KeyboardInterrupt):
    """A signal stops the work here.

    Args:
        name: name of the signal.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


class StopRequest:
    """A context in which a signal is a request to stop.

    Python delivers signals only to the main thread; in other threads, it never becomes true.

    Args:
        until_the_end: whether signals stay requests after a stop. A launcher that sees one process end sends
            SIGTERM to the others, which are about to end with an exit code of their own.
        at_once: whether the first signal raises `StopSignal`, and does not only ask.
    """

    def __init__(self, *, until_the_end: bool = False, at_once: bool = False) -> None:
        self.until_the_end, self._at_once = until_the_end, at_once
        self.signal_name = ""
        self._before: dict[int, _Handler] = {}

    def __bool__(self) -> bool:
        return bool(self.signal_name)

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.until_the_end and isinstance(error, InterruptedRunError):
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """A context in which a signal raises `StopSignal`, also one from before: nothing in it can be lost."""
        before, self._at_once = self._at_once, True
        try:
            self.check()
            yield
        finally:
            self._at_once = before

    def check(self, event: object = None) -> None:
        """Raises `StopSignal` if a signal came that raised it where Python drops errors; also a listener."""
        if self._at_once and self.signal_name:
            raise StopSignal(self.signal_name)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal_name:
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name
        if self._at_once:
            raise StopSignal(self.signal_name)


@contextlib.contextmanager
def stopped_by(request: StopRequest) -> Iterator[None]:
    """A context in which a signal ends the work with an error that says that nothing is lost.

    Args:
        request: request that raises at once.

    Raises:
        InterruptedRunError: a signal came.
    """
    with request:
        try:
            yield
        except StopSignal as stop:
            request.signal_name = ""  # it is said now
            raise InterruptedRunError(
                f"stopped by {stop.name}; what was ready is saved.",
                remedy="The same command resumes from there.",
            ) from None
