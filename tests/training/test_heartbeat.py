"""A training that hangs is found: its stacks are written, and it ends with 75."""

import signal
import subprocess
import sys
import time

import pytest

from tunesmith.errors import RecipeError
from tunesmith.training.heartbeat import FILE, Heartbeat, stacks_file, stall_limit

PROGRAM = """
import sys, time
from pathlib import Path
from tunesmith.training.heartbeat import Heartbeat
from tunesmith.training.signals import StopRequest, stopped_by
from tunesmith.errors import InterruptedRunError

def hangs_here(seconds):
    if sys.argv[2] == "in a call":  # that never returns to Python's handlers
        import ctypes
        import signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    time.sleep(seconds)

beat = Heartbeat(0.4, 0.5, rank=int(sys.argv[3]))
print("watching", flush=True)
try:
    with beat.watching(Path(sys.argv[1])), stopped_by(StopRequest(at_once=True)):
        hangs_here(30)
except InterruptedRunError as error:
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("how", ["in Python", "in a call"])
def test_a_training_that_hangs_is_stopped_with_its_stacks(tmp_path, how):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), how, "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 75, done.stderr
    assert time.monotonic() - began < 25
    assert "nothing has happened for 0.4 s" in done.stderr
    assert "hangs_here" in (tmp_path / FILE).read_text()


def test_another_process_writes_its_stacks_too_when_the_first_one_has_seen_nothing(tmp_path):
    (tmp_path / FILE).write_text("of an earlier start")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), "in a call", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "watching\n"
        time.sleep(1)  # it has no limit of its own: the first process may score for hours
        assert process.poll() is None
        (tmp_path / FILE).write_text("now")
        assert process.wait(30) == 75
    assert "hangs_here" in (tmp_path / stacks_file(1)).read_text()


def test_signs_of_life_keep_it_going(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    beat = Heartbeat(0.4)
    with beat.watching(tmp_path):
        for _ in range(8):
            time.sleep(0.1)
            beat(None)
    assert not (tmp_path / FILE).exists()
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_limit_is_that_of_the_environment(monkeypatch):
    monkeypatch.delenv("TUNESMITH_STALL_S", raising=False)
    assert stall_limit() == 3600
    monkeypatch.setenv("TUNESMITH_STALL_S", "0")
    assert stall_limit() == 0
    monkeypatch.setenv("TUNESMITH_STALL_S", "soon")
    with pytest.raises(RecipeError, match="TUNESMITH_STALL_S must be a number of seconds, got `soon`"):
        stall_limit()
