"""What a training does when the disk is full, fails, may not be written to, or is gone.

    python tests/faults/disk.py [--places 40] [--page docs/reliability.md]

- The run folder lies on a small tmpfs at ten fill levels (needs the right to mount).
- The n-th file operation fails with ENOSPC or EIO, at drawn places.
- Files may not become larger than some sizes; the folder is read-only; it is deleted in mid-run; its file system
  has no locks, as some of a network.

No start may end with a traceback or without a message; whole checkpoints stay; when the cause is gone, the same
command resumes and ends bit for bit. The exit code is 1 otherwise.
"""

from __future__ import annotations

import errno
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from cases import parser_of, work_off
from harness import Fault, Outcome, Parent
from kills import Subject, drawn, fresh, subject
from sameness import differences

BEGIN, END = "<!-- disk: begin -->", "<!-- disk: end -->"
_ERRORS = (1, 2)
_LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"


@dataclass(frozen=True)
class Case:
    """One cause, what the command said, and what was wrong with that (empty when nothing was)."""

    cause: str
    detail: str
    said: str
    problem: str


def _judged(
    cause: str, detail: str, failed: Outcome, again: Outcome | None, found: Subject, run: Path
) -> Case:
    said = " ".join(failed.err.strip().splitlines()[-2:])[-240:]
    problem = ""
    if "Traceback" in failed.err or failed.code not in (0, *_ERRORS):
        problem = f"ended with {failed.code}: {failed.err[-700:]}"
    elif failed.code and "error: " not in failed.err:
        problem = "no message"
    elif again is not None:
        problem = f"ended with {again.code} afterwards: {again.err[-500:]}" if again.code else ""
        problem = problem or "; ".join(differences(found.calm, run))
    return Case(cause, detail, said if failed.code else "trained to its end", problem)


@contextmanager
def tmpfs(folder: Path, size: int) -> Iterator[Path]:
    """A file system in memory of a size in bytes."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(fresh(folder))], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def may_mount() -> bool:
    """Whether this process may mount a file system."""
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False)
        if made.returncode == 0:
            subprocess.run(["umount", folder], check=True)
    return made.returncode == 0


def full_disks(parent: Parent, found: Subject, base: Path, levels: int = 10) -> Iterator[Case]:
    """The run folder on disks from a third of what a run takes to more than it needs; then on one with space."""
    whole = sum(p.stat().st_size for p in found.calm.rglob("*") if p.is_file())
    for level in range(1, levels + 1):
        size = int(whole * 6 * level / levels)
        with tmpfs(base / "small" / "run", size) as run:
            small = base / "small"
            failed = parent.run(small, ["train", str(found.file), "--json"])
            shutil.rmtree(base / "large", ignore_errors=True)
            shutil.copytree(run, base / "large" / "run")
        again = parent.run(base / "large", ["train", str(found.file), "--json"])
        yield _judged("a full disk", f"{size / 1e3:.0f} kB", failed, again, found, base / "large" / "run")


def failing_calls(parent: Parent, found: Subject, base: Path, n: int, rng: random.Random) -> Iterator[Case]:
    """The n-th file operation fails, once or from then on, then the command is given again."""
    files = [place for place in found.places if place.call != "point"]
    for turn, place in enumerate(drawn(files, n, rng)):
        number = (errno.ENOSPC, errno.EIO)[turn % 2]
        action = ("fail", "fail_from_now_on")[turn // 2 % 2]
        command = ["train", str(found.file), "--json"]
        failed = parent.run(fresh(base / "trial"), command, Fault(place.number, action, number))
        again = parent.run(base / "trial", command)
        detail = f"{place.kind}, {action.replace('_', ' ')}"
        yield _judged(errno.errorcode[number], detail, failed, again, found, base / "trial" / "run")


def limits(parent: Parent, found: Subject, base: Path) -> Iterator[Case]:
    """Files may not become larger than a size; the folder is read-only; it is deleted in mid-run."""
    command = ["train", str(found.file), "--json"]
    for size in (4_096, 40_000, 100_000):
        patches = [_LIMIT.format(size=size)]
        failed = parent.run(fresh(base / "trial"), command, patches=patches)
        again = parent.run(base / "trial", command)
        yield _judged("a limit of file size", f"{size:,} bytes", failed, again, found, base / "trial" / "run")
    if may_mount():
        yield _read_only(parent, found, base)
    yield _without_locks(parent, found, base)
    trial = base / "trial"
    steps = [place for place in found.places if place.kind == "point step begins"]
    pid = parent.start(fresh(trial), command, Fault(steps[len(steps) // 2].number, "delay", 1500))
    _wait_for(trial / "run" / "checkpoints")
    shutil.rmtree(trial / "run", ignore_errors=True)
    failed = parent.wait(trial, pid)
    again = parent.run(trial, command)
    yield _judged("a folder deleted in mid-run", "", failed, again, found, trial / "run")


def _read_only(parent: Parent, found: Subject, base: Path) -> Case:
    """On a read-only file system, which also stops root; then it becomes writable."""
    command, small = ["train", str(found.file), "--json"], base / "small"
    with tmpfs(small / "run", 10_000_000) as run:
        subprocess.run(["mount", "-o", "remount,ro", str(run)], check=True)
        failed = parent.run(small, command)
        subprocess.run(["mount", "-o", "remount,rw", str(run)], check=True)
        again = parent.run(small, command)
        return _judged("a read-only folder", "", failed, again, found, run)


def _without_locks(parent: Parent, found: Subject, base: Path) -> Case:
    """No process can lock a file; then it can."""
    trial = base / "trial"
    lock = next(place for place in found.places if place.call == "flock")
    failed = parent.run(fresh(trial), found.command, Fault(lock.number, "fail_from_now_on", errno.ENOLCK))
    again = parent.run(trial, found.command)
    case = _judged("a file system without locks", "", failed, again, found, trial / "run")
    is_said = failed.code == _ERRORS[-1] and "cannot be locked" in failed.err
    return case if is_said else replace(case, problem=f"ended with {failed.code}: {failed.err[-300:]}")


def _wait_for(folder: Path) -> None:
    import time

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(folder.glob("step-*")):
        time.sleep(0.01)
    time.sleep(0.5)


def cases(base: Path, name: str, n: int, seed: int = 0) -> Iterator[Case]:
    """All causes, for one recipe."""
    with Parent(base) as parent:
        found = subject(parent, base, name)
        if may_mount():
            yield from full_disks(parent, found, base)
        yield from limits(parent, found, base)
        yield from failing_calls(parent, found, base, n, random.Random(seed))


def table(found: Sequence[Case]) -> str:
    """The table of the page: a line for each cause."""
    lines = ["| cause | starts | ended with a message, or well | resumed bit for bit |", "|---|--:|--:|--:|"]
    for cause in dict.fromkeys(case.cause for case in found):
        some = [case for case in found if case.cause == cause]
        good = sum(not case.problem for case in some)
        messages = sum("ended with" not in case.problem and case.problem != "no message" for case in some)
        lines.append(f"| {cause} | {len(some)} | {messages} | {good} |")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = parser_of(__doc__)
    parser.add_argument("--places", type=int, default=40)
    parser.add_argument("--recipe", default="probe + full")
    given = parser.parse_args()
    line = "{0.cause} {0.detail}: {0.said}".format
    work_off(given, lambda base: cases(base, given.recipe, given.places), line, table, (BEGIN, END))


if __name__ == "__main__":
    main()
