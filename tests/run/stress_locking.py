"""Three real `tunesmith train` start in one folder at the same moment, round after round; about 10 s a round.

    python tests/run/stress_locking.py [--rounds N] [--output FILE]

In every round exactly one process must train. The others must end with exit code 2 and the error about the lock,
or, if they begin after the training has ended, with exit code 0 and "finished; nothing to do". Each process writes
a line to a trace file when its training loop begins and when it ends; the times of these lines show whether two
processes ever trained at once. A line of JSON for each round goes to the output file. The exit code is 1 if a
round went wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

PROCESSES = 3
_MOST_SECONDS = 600
_TRAINED, _REFUSED, _CAME_LATE = "trained", "refused", "came after the end"

# Each process imports what takes long, waits for the others, and then is the command line.
PROGRAM = """
import os, sys, time
trace, meeting, processes = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.argv = ["tunesmith", *sys.argv[4:]]
import accelerate, torch, transformers
import tunesmith.pipeline.fit as fit
from tunesmith.cli.main import main

def write_line(word):
    with open(trace, "a") as file:
        file.write(f"{word} {os.getpid()} {time.monotonic_ns()}\\n")

def traced(*given):
    write_line("enter")
    try:
        return run_loop(*given)
    finally:
        write_line("leave")

run_loop, fit.run_loop = fit.run_loop, traced
open(os.path.join(meeting, str(os.getpid())), "w").close()
while len(os.listdir(meeting)) < processes:
    time.sleep(0)
main()
"""


@dataclass(frozen=True)
class End:
    """How one process ended.

    Args:
        pid: process id.
        code: exit code.
        errors: text on standard error.
    """

    pid: int
    code: int
    errors: str

    def way(self, trained: set[int]) -> str:
        """The end in words; empty if it is none of the three that are allowed.

        Args:
            trained: ids of the processes whose training loop began.
        """
        if self.pid in trained:
            return _TRAINED if self.code == 0 else ""
        if self.code == 2 and "is writing to" in self.errors:
            return _REFUSED
        return _CAME_LATE if self.code == 0 and "finished; nothing to do" in self.errors else ""


@dataclass(frozen=True)
class Round:
    """What a round came to: how each process ended, and everything that went wrong."""

    ways: list[str]
    problems: list[str] = field(default_factory=list)


def judge(run: Path, trace: Path, ends: list[End]) -> Round:
    """Compares the traces, the exit codes and the run folder of a round with what must be."""
    lines = [line.split() for line in trace.read_text().splitlines()] if trace.is_file() else []
    trained = {int(pid) for word, pid, _ in lines if word == "enter"}
    ways = [end.way(trained) for end in ends]
    problems = [
        f"exit code {end.code}: {end.errors[-600:]}" for end, way in zip(ends, ways, strict=True) if not way
    ]
    if len(trained) != 1:
        problems.append(f"{len(trained)} processes trained, at most {_most_at_once(lines)} at once")
    return Round(sorted(way or "other" for way in ways), [*problems, *_problems_of(run)])


def _most_at_once(lines: list[list[str]]) -> int:
    inside = most = 0
    for word, _, _ in sorted(lines, key=lambda line: int(line[2])):
        inside += 1 if word == "enter" else -1
        most = max(most, inside)
    return most


def _problems_of(run: Path) -> list[str]:
    manifest = run / "manifest.json"
    is_finished = manifest.is_file() and json.loads(manifest.read_text()).get("finished")
    left = sorted(path.name for path in run.glob(".*"))
    return [
        *([] if is_finished else ["the run is not finished"]),
        *([f"left in the run folder: {', '.join(left)}"] if left else []),
    ]


def race(base: Path, number: int) -> Round:
    """One round: the processes start, and all of them end."""
    run, trace, meeting = (base / f"{name}-{number}" for name in ("run", "trace", "meeting"))
    meeting.mkdir()
    command = [
        sys.executable, "-c", PROGRAM, str(trace), str(meeting), str(PROCESSES),
        "train", "--model", str(base / "model"), "--data", str(base / "train.csv"), "--output-dir", str(run),
        "train.max_steps=20", "train.per_device_train_batch_size=8",
        "evaluate.baselines=false", "evaluate.bootstrap_samples=100",
    ]  # fmt: skip
    given = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TUNESMITH_CACHE": str(base / "cache"),
    }
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, env=given, cwd=base, **pipes) for _ in range(PROCESSES)]
    try:
        said = [process.communicate(timeout=_MOST_SECONDS)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    ends = [
        End(process.pid, process.returncode, errors) for process, errors in zip(started, said, strict=True)
    ]
    found = judge(run, trace, ends)
    if not found.problems:
        shutil.rmtree(run)
    return found


def main() -> int:
    """Runs the rounds; the exit code."""
    from tunesmith.testing.tiny import tiny_rows, write_rows, write_tiny_model

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument(
        "--output", type=Path, default=None, help="file to which each round adds a line of JSON"
    )
    asked = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="stress-"))
    write_tiny_model(base / "model", width=8, layers=1)
    write_rows(base / "train.csv", tiny_rows(60))
    ways: Counter[str] = Counter()
    wrong = 0
    for number in range(asked.rounds):
        began = time.monotonic()
        found = race(base, number)
        ways[" + ".join(found.ways)] += 1
        wrong += bool(found.problems)
        seconds = round(time.monotonic() - began, 1)
        line = json.dumps(
            {"round": number, "ends": found.ways, "problems": found.problems, "seconds": seconds}
        )
        print(line, flush=True)
        if asked.output is not None:
            with asked.output.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
    print(json.dumps({"rounds": asked.rounds, "wrong": wrong, "ends": ways}))
    if wrong:
        print(f"the folders of the wrong rounds are in {base}")
    else:
        shutil.rmtree(base)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
