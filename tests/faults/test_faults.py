"""A sample of `make faults`: real trainings, killed or stopped at drawn places, end as if nothing had happened."""

import errno
import json
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from disk import failing_calls, full_disks, may_mount
from harness import HAS_COMPILER, Fault, Parent, Place
from kills import drawn, fresh, into_page, subject
from resources import Bench, small_group
from sameness import differences
from signals import moments, stop

WITHOUT_REPORT = ["import tunesmith.pipeline.training as t; t.write_report = lambda run: None"]
pytestmark = pytest.mark.skipif(not HAS_COMPILER, reason="needs a C compiler (`cc`) for tests/faults/shim.c")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def parent(base):
    with Parent(base) as parent:
        yield parent


@pytest.fixture(scope="module")
def full(parent, base):
    return subject(parent, base, "full", WITHOUT_REPORT)


def kill_some(parent, subject, n, folder, rng):
    """Kills runs `n` times in all, each up to seven times; how often, and what differs in what they end with."""
    command, kills, found = ["train", str(subject.file), "--json"], 0, []
    while kills < n:
        fresh(folder)
        for place in drawn(subject.places, 7, rng):
            action = "kill" if place.number % 2 else "kill_halfway"
            ended = parent.run(folder, command, Fault(place.number, action), WITHOUT_REPORT)
            assert ended.code in (0, -9), ended.err
            kills += ended.code == -9
            if ended.code == 0 or kills == n:
                break
        last = parent.run(folder, command, patches=WITHOUT_REPORT)
        assert last.code == 0, last.err
        found += differences(subject.calm, folder / "run")
    return kills, found


def test_runs_that_are_killed_twelve_times_end_bit_for_bit(parent, base, full):
    assert kill_some(parent, full, 12, base / "killed", random.Random(1)) == (12, [])


def test_a_masked_language_model_that_is_killed_eight_times_too(parent, base):
    found = subject(parent, base, "masked LM", WITHOUT_REPORT)
    assert kill_some(parent, found, 8, base / "killed", random.Random(2)) == (8, [])


def test_signals_stop_with_75_and_the_run_resumes_bit_for_bit(parent, base, full):
    of = dict(moments(full))
    found = stop(parent, full, "an evaluation", of["an evaluation"], signal.SIGUSR1, base / "stopped")
    assert found.problem == ""
    assert found.stopped == 2


def test_a_disk_that_fails_or_is_full_leaves_what_was_whole(parent, base, full):
    cases = list(failing_calls(parent, full, base, 1, random.Random(3)))
    if may_mount():
        cases += full_disks(parent, full, base, levels=1)
    assert [case.problem for case in cases] == [""] * len(cases)
    assert any("No space left on device" in case.said for case in cases)


def test_after_a_kill_by_the_kernel_the_next_start_halves_the_passes(parent, base):
    with small_group() as group:
        if group is None:
            pytest.skip("needs the right to make a control group with a limit of memory")
        case = Bench(parent, base).killed("full", group)
    assert case.problem == ""
    assert case.difference <= 1e-4
    assert "killed processes for lack of memory" in case.said


# The harness itself


def test_a_difference_is_seen(full, base):
    other = base / "changed"
    shutil.copytree(full.calm, other)
    assert differences(full.calm, other) == []
    weights = other / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    (other / "predictions" / "test.jsonl").unlink()
    (other / ".half").touch()
    events = (other / "events.jsonl").read_text().replace('"kind": "validation"', '"kind": "note"', 1)
    (other / "events.jsonl").write_text(events)
    assert differences(full.calm, other) == [
        "predictions/test.jsonl is missing", ".half is left over", "events.jsonl differs",
        "model/model.safetensors differs",
    ]  # fmt: skip


def test_a_trial_of_a_search_that_is_run_twice_is_seen(tmp_path):
    begins = [{"op_code": 4, "worker_id": name, "study_id": 0, "datetime_start": name} for name in "abc"]
    for name, operations in {"calm": begins[:1], "resumed": begins[1:2], "twice": begins[1:]}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "journal.log").write_text("".join(f"{json.dumps(one)}\n" for one in operations))
    assert differences(tmp_path / "calm", tmp_path / "resumed") == []
    assert differences(tmp_path / "calm", tmp_path / "twice") == ["journal.log differs"]


def test_every_kind_of_place_is_drawn_before_one_is_drawn_again():
    places = [Place(n, "write", f"run/{'a' if n % 10 else 'b'}.json") for n in range(100)]
    assert {place.path for place in drawn(places, 2, random.Random(0))} == {"run/a.json", "run/b.json"}
    assert len(drawn(places, 1000, random.Random(0))) == 100


def test_faults_come_where_they_are_asked_for(parent, full, base):
    n = next(place.number for place in full.places if place.kind.startswith("rename run/checkpoints"))
    folder = fresh(base / "one")
    outcome = parent.run(folder, ["train", str(full.file)], Fault(n, "fail", errno.EIO))
    assert outcome.code == 1
    assert [place.number for place in outcome.places] == [n]
    assert "Input/output error" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_table_goes_between_the_marks_of_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- b -->\nold\n<!-- e -->\nafter\n")
    into_page(page, "<!-- b -->", "<!-- e -->", "new")
    assert page.read_text() == "before\n<!-- b -->\nnew\n<!-- e -->\nafter\n"
