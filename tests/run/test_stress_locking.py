"""The judge of the stress test sees what must never happen; `make stress` runs the rounds."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stress_locking import End, judge

LOCKED = "error: another process (1) is writing to `run`."
TRAINED, REFUSED, LATE = End(1, 0, ""), End(2, 2, LOCKED), End(3, 0, "run: finished; nothing to do")


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({"finished": True}))
    return tmp_path / "run"


def judged(run, ends, *lines):
    trace = run.with_name("trace")
    trace.write_text("".join(f"{line}\n" for line in lines))
    return judge(run, trace, ends)


def test_one_that_trains_and_others_that_leave_it_alone_are_right(run):
    found = judged(run, [TRAINED, REFUSED, LATE], "enter 1 10", "leave 1 20")
    assert found.problems == []
    assert found.ways == ["came after the end", "refused", "trained"]


@pytest.mark.parametrize(
    ("ends", "lines", "problem"),
    [
        ([TRAINED, End(2, 0, ""), REFUSED], ("enter 1 10", "enter 2 15", "leave 1 20", "leave 2 25"), "2 at once"),
        ([TRAINED, End(2, 0, ""), REFUSED], ("enter 1 10", "leave 1 12", "enter 2 15", "leave 2 25"), "1 at once"),
        ([LATE, LATE, REFUSED], (), "0 processes trained"),
        ([TRAINED, End(2, 1, "Traceback"), REFUSED], ("enter 1 10", "leave 1 20"), "exit code 1: Traceback"),
        ([End(1, 1, "killed"), REFUSED, REFUSED], ("enter 1 10",), "exit code 1: killed"),
    ],
)  # fmt: skip
def test_what_must_never_happen_is_a_problem(run, ends, lines, problem):
    assert problem in " ".join(judged(run, ends, *lines).problems)


def test_what_is_left_in_the_folder_is_a_problem(run):
    (run / ".lock").touch()
    (run / "manifest.json").unlink()
    problems = judged(run, [TRAINED, REFUSED, LATE], "enter 1 10", "leave 1 20").problems
    assert problems == ["the run is not finished", "left in the run folder: .lock"]
