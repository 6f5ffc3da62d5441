"""Signals of a command: the first one ends it with what it was writing removed, a second one at once; with 75.

Python raises KeyboardInterrupt wherever the main thread is. Three moments need care: while the message about the
first signal is printed, while the interpreter ends, and in a finalizer, where Python prints an error and goes on.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tunesmith.errors import InterruptedRunError

if TYPE_CHECKING:
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_LATER_S = 0.01


def end_with_code_of(command: Callable[[], int]) -> int:
    """Runs a command in which SIGTERM and SIGUSR1 are what Ctrl-C is; returns its exit code.

    Args:
        command: function that returns an exit code; it reports the first KeyboardInterrupt itself.
    """
    if threading.current_thread() is not threading.main_thread():
        return command()
    for number in _SIGNALS[1:]:
        signal.signal(number, signal.default_int_handler)
    before, sys.unraisablehook = sys.unraisablehook, _raise_again
    try:
        code = command()
    except KeyboardInterrupt:  # a second one, while the first was reported
        code = InterruptedRunError.exit_code
    finally:
        sys.unraisablehook = before
    atexit.unregister(_end_at_once)
    atexit.register(_end_at_once, code)
    return code


def _raise_again(dropped: sys.UnraisableHookArgs) -> None:
    """Interrupts the main thread again where Python has dropped an interrupt, as it does in finalizers."""
    if dropped.exc_type is KeyboardInterrupt:
        main = threading.main_thread().ident
        again = threading.Timer(_LATER_S, signal.pthread_kill, (main, signal.SIGINT))
        again.daemon = True
        again.start()
        return
    if not issubclass(dropped.exc_type, KeyboardInterrupt):  # a training finds its own at the next event
        sys.__unraisablehook__(dropped)


def _end_at_once(code: int) -> None:
    """From now on, a signal ends the process with the exit code that it has anyway."""

    def end(number: int, frame: FrameType | None) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)

    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as in one of several processes
            signal.signal(number, end)
