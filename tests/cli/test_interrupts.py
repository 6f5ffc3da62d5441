"""A second signal, and one that Python drops, end a command at once: with its exit code, without a traceback."""

import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import atexit, os, signal, sys, time
from tunesmith.cli.interrupts import end_with_code_of

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background

def interrupted(number):
    os.kill(os.getpid(), number)
    time.sleep(20)

class Finalized:
    def __del__(self):
        interrupted(SECOND)

class Last:
    def __del__(self, kill=os.kill, pid=os.getpid()):
        kill(pid, SECOND)

def command():
    if WHEN == "of one of several, after the last handler is gone":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.modules["last"] = Last()
        return 75
    if WHEN == "at the end":
        atexit.register(interrupted, SECOND)
        return 3
    try:
        if WHEN == "in a finalizer":
            Finalized()
            time.sleep(20)
        interrupted(signal.SIGINT)
    except KeyboardInterrupt:
        print("reported", flush=True)
        if WHEN == "while the first is reported":
            interrupted(SECOND)
        return 75
    return 0

sys.exit(end_with_code_of(command))
"""


@pytest.mark.parametrize(
    ("when", "second", "code", "said"),
    [
        ("while the first is reported", signal.SIGTERM, 75, "reported\n"),
        ("in a finalizer", signal.SIGTERM, 75, "reported\n"),
        ("at the end", signal.SIGINT, 3, ""),
        ("of one of several, after the last handler is gone", signal.SIGTERM, 75, ""),
    ],
)
def test_a_signal_that_comes_at_a_bad_moment_ends_the_command_quietly(when, second, code, said):
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", f"WHEN, SECOND = {when!r}, {int(second)}\n{PROGRAM}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, said, "")
    assert time.monotonic() - began < 15
