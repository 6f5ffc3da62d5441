"""One process at a time in a folder, with real processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tunesmith.errors import RunError
from tunesmith.run import locking
from tunesmith.run.locking import LOCK_FILE, locked, refuse_several_processes

ROUNDS = int(os.environ.get("TUNESMITH_LOCK_ROUNDS", "10"))

# Three of these meet before each round, so that all want the folder at one moment; what a round came to is a line.
PROGRAM = """
import os, sys, time
from pathlib import Path
from tunesmith.errors import RunError
from tunesmith.run import Run

base, how, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def meet(place, waiting=True):
    place.mkdir(parents=True, exist_ok=True)
    (place / str(os.getpid())).touch()
    while waiting and len(os.listdir(place)) < 3:
        time.sleep(0)

for number in range(rounds):
    run, inside = Run(base / str(number) / "run"), base / str(number) / "inside"
    inside.mkdir(parents=True, exist_ok=True)
    meet(base / str(number) / "start")
    try:
        with run.locked():
            mine = inside / str(os.getpid())
            mine.touch()
            alone = os.listdir(inside) == [mine.name]
            if how == "trains":
                run.manifest_file.write_text(mine.name)
                (run.path / "model").mkdir()
                meet(base / str(number) / "tried")  # the others have been refused
                alone = alone and run.manifest_file.read_text() == mine.name and run.model.is_dir()
            mine.unlink()
        print("held" if alone else "not alone")
    except RunError as error:
        print(error.exit_code, str(error).splitlines()[0])
        meet(base / str(number) / "tried", waiting=False)
    meet(base / str(number) / "end")
"""


def race(folder: Path, how: str, rounds: int) -> list[list[str]]:
    """Three processes, round after round at once; what each said of each round."""
    command = [sys.executable, "-c", PROGRAM, str(folder), how, str(rounds)]
    files = [
        (folder / f"said-{number}").open("w+") for number in range(3)
    ]  # a pipe that is full would stop them
    started = [subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) for file in files]
    deadline = time.monotonic() + 60 + rounds
    while None in (codes := [process.poll() for process in started]) and not any(codes):
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    for process in started:  # of which one waits for ever, if another has failed
        process.kill()
        process.wait()
    said = []
    for file in files:
        with file:
            file.seek(0)
            said.append(file.read().splitlines())
    assert codes == [0, 0, 0], said
    return [list(ways) for ways in zip(*said, strict=True)]


def test_of_three_processes_at_once_one_holds_the_folder_and_the_others_leave_it_alone(tmp_path):
    for number, ends in enumerate(race(tmp_path, "trains", ROUNDS)):
        *refused, held = sorted(ends)
        assert held == "held", ends
        assert all(said.startswith("2 another process") for said in refused), ends
        assert sorted(os.listdir(tmp_path / str(number) / "run")) == ["manifest.json", "model"]


def test_holders_that_come_and_go_and_leave_nothing_are_never_two(tmp_path):
    """The lock file and the folder vanish between one holder and the next, while others wait to open them."""
    for ends in race(tmp_path, "fails", 10 * ROUNDS):
        assert "held" in ends
        assert all(said == "held" or said.startswith("2 another process") for said in ends), ends


def test_a_holder_that_is_killed_leaves_the_folder_free(tmp_path):
    program = (
        "import os, signal, sys; from pathlib import Path; from tunesmith.run.locking import locked\n"
        "with locked(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path / "run"], check=False).returncode == -9
    with locked(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_a_folder_that_was_there_stays_and_one_that_was_made_for_nothing_goes(tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("mine", "new"):
        with locked(tmp_path / name):
            pass
    assert os.listdir(tmp_path) == ["mine"]
    assert os.listdir(tmp_path / "mine") == []
    with locked(tmp_path / "new"):
        (tmp_path / "new" / "manifest.json").touch()
    assert os.listdir(tmp_path / "new") == ["manifest.json"]


def test_a_refused_process_names_the_holder_and_removes_nothing(tmp_path):
    with locked(tmp_path / "run"):
        for _ in range(2):
            with (
                pytest.raises(RunError, match=rf"another process \({os.getpid()}\) is writing"),
                locked(tmp_path / "run"),
            ):
                pytest.fail("two are in")
        assert os.listdir(tmp_path / "run") == [LOCK_FILE]


def test_a_lock_that_was_taken_on_a_removed_file_is_none(tmp_path, monkeypatch):
    """Between opening the file and locking it, its holder leaves and another takes a new one."""
    really = locking._lock_or_refuse
    turns = []

    def late(descriptor, folder):
        really(descriptor, folder)
        if not turns:
            turns.append(1)
            (folder / LOCK_FILE).unlink()
            (folder / LOCK_FILE).touch()

    monkeypatch.setattr(locking, "_lock_or_refuse", late)
    with locked(tmp_path / "run"), pytest.raises(RunError, match="another process"), locked(tmp_path / "run"):
        pytest.fail("two are in")


def take_turns_in_a_search(folder):
    from tunesmith.tuning.storage import _lock

    folder.mkdir()
    _lock(folder / "journal.log").acquire()


def write_to_a_registry(folder):
    from tunesmith.run.champion import Registry

    with Registry(folder)._locked():
        pytest.fail("no lock")


def hold_a_run(folder):
    with locked(folder):
        pytest.fail("no lock")


@pytest.mark.parametrize("take", [hold_a_run, take_turns_in_a_search, write_to_a_registry])
def test_a_file_system_without_locks_is_named_as_such(tmp_path, monkeypatch, take):
    import errno
    import fcntl

    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(RunError, match="cannot be locked against other processes: No locks") as caught:
        take(tmp_path / "folder")
    assert "on another file system" in caught.value.remedy


@pytest.mark.parametrize("name", ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE"])
def test_several_processes_of_a_launcher_are_refused(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    refuse_several_processes()
    monkeypatch.setenv(name, "2")
    with pytest.raises(RunError, match=f"{name} is 2"):
        refuse_several_processes()
