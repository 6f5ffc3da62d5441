import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tunesmith.errors import RunError
from tunesmith.training import tensor_files
from tunesmith.training.checkpoints import Checkpoints, State

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}
MOMENTS = {"a/exp_avg": torch.zeros(2, 3), "a/step": torch.tensor(3.0)}


@pytest.fixture
def saved(tmp_path):
    saved = Checkpoints(tmp_path / "checkpoints")
    for step in (10, 20, 30):
        saved.save(State(step=step, best_step=10, history=[{"step": step}]), TENSORS, MOMENTS)
    return saved


def test_what_is_saved_is_loaded(saved):
    newest = saved.newest()
    assert newest.state() == State(step=30, best_step=10, history=[{"step": 30}])
    assert all(torch.equal(TENSORS[n], t) for n, t in newest.model_tensors().items())
    assert newest.optimizer_tensors()["a/step"] == 3.0


def test_the_newest_and_the_best_are_kept(saved):
    assert sorted(p.name for p in saved.folder.iterdir()) == ["step-00010", "step-00030"]


def test_only_safetensors_and_json(saved):
    assert sorted(os.listdir(saved.at(30).path)) == [
        "manifest.json", "model.safetensors", "optimizer.safetensors", "state.json",
    ]  # fmt: skip
    checksums = json.loads((saved.at(30).path / "manifest.json").read_text())["sha256"]
    assert sorted(checksums) == ["model.safetensors", "optimizer.safetensors", "state.json"]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"]
)
@pytest.mark.parametrize("problem", ["flip", "cut", "remove"])
def test_any_damage_is_found_and_the_older_one_used(saved, name, problem):
    file = saved.at(30).path / name
    if problem == "flip":
        flip(file)
    elif problem == "cut":
        file.write_bytes(file.read_bytes()[:-7])
    else:
        file.unlink()
    assert saved.newest().step == 10
    assert saved.notices[0].startswith("step-00030 is passed over: ")


HISTORY = [
    {"step": 10, "loss": 1.0},
    {"step": 20, "loss": 2.0},
    {"step": 30, "loss": 3.0},
    {"step": 40, "loss": 4.0},
]


def at_the_end(step: int, best_step: int = 10) -> State:
    return State(step=step, best_step=best_step, best_value=1.0, history=HISTORY)


def test_the_best_is_loaded_when_it_is_whole_and_not_in_memory(saved):
    state = at_the_end(40)
    assert saved.best(state, "loss", greater_is_better=False).step == 10
    assert saved.best(at_the_end(40, best_step=40), "loss", greater_is_better=True) is None
    assert state == at_the_end(40)
    assert saved.notices == []


@pytest.mark.parametrize(
    ("greater_is_better", "in_memory", "used"),
    [(False, 40, 30), (True, 40, None), (True, 35, 30), (False, 30, None)],
    ids=["the next best on disk", "memory is better", "memory was not validated", "memory is that step"],
)  # fmt: skip
def test_a_damaged_best_falls_back_to_the_next_best_with_a_notice(saved, greater_is_better, in_memory, used):
    flip(saved.at(10).path / "model.safetensors")
    state = at_the_end(in_memory)
    found = saved.best(state, "loss", greater_is_better=greater_is_better)
    step = used or in_memory
    assert (found.step if found else None) == used
    assert (state.best_step, state.best_value) == (step, float(step // 10))
    assert saved.notices == [
        "the best checkpoint, step-00010, cannot be used: model.safetensors is damaged. "
        f"Step {step} is used instead"
    ]


def test_without_another_validated_step_the_weights_in_memory_stay(saved):
    for step in (10, 30):
        flip(saved.at(step).path / "model.safetensors")
    state = State(step=35, best_step=10, best_value=1.0, history=HISTORY[:1])
    assert saved.best(state, "loss", greater_is_better=True) is None
    assert state.best_step == 35


# Whose it is


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    mine, other = (Checkpoints(tmp_path / name, run_id=name) for name in ("mine", "other"))
    for one in (mine, other):
        one.save(State(step=10, best_step=10), TENSORS, MOMENTS)
    assert mine.newest().manifest()["run_id"] == "mine"
    shutil.rmtree(mine.at(10).path)
    shutil.copytree(other.at(10).path, mine.at(10).path)
    with pytest.raises(RunError, match=r"must be of the run `mine`, and `.*` is of the run `other`") as error:
        mine.newest()
    assert "Move it back" in error.value.remedy
    with pytest.raises(RunError, match="of the run `other`"):
        mine.best(State(step=20, best_step=10), "loss", greater_is_better=False)


def test_a_checkpoint_without_an_id_belongs_to_a_migrated_run_alone(tmp_path):
    Checkpoints(tmp_path).save(State(step=10, best_step=10), TENSORS, MOMENTS)
    assert Checkpoints(tmp_path, "mine", accepts_unnamed=True).newest().step == 10
    with pytest.raises(RunError, match="of a run without an id"):
        Checkpoints(tmp_path, "mine").newest()


def test_nothing_whole_is_nothing(saved):
    for step in (10, 30):
        (saved.at(step).path / "model.safetensors").unlink()
    assert saved.newest() is None


def test_a_save_that_fails_leaves_the_older_ones(saved, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tunesmith.training.checkpoints.write_json", full)
    with pytest.raises(OSError, match="No space"):
        saved.save(State(step=40, best_step=40), TENSORS, MOMENTS)
    assert saved.newest().step == 30
    assert sorted(p.name for p in saved.folder.iterdir()) == ["step-00010", "step-00030"]


def test_a_step_that_is_saved_again_replaces_the_damaged_one(saved):
    flip(saved.at(30).path / "model.safetensors")
    saved.save(State(step=30, best_step=10), TENSORS, MOMENTS)
    assert not saved.at(30).problem()
    assert sorted(p.name for p in saved.folder.iterdir()) == ["step-00010", "step-00030"]


def test_half_a_checkpoint_of_a_killed_save_is_ignored(saved):
    aside = saved.folder / ".new-step-00040"
    aside.mkdir()
    (aside / "model.safetensors").write_bytes(b"half")
    assert saved.newest().step == 30
    saved.save(State(step=40, best_step=10), TENSORS, MOMENTS)
    assert not aside.exists()


# Without a gap

# Saves once with every file-system call counted, then again and again in a fork that ends before call 0, 1, 2, …
PROGRAM = """
import os, shutil, sys
from pathlib import Path
import torch, safetensors.torch
from tunesmith.training.checkpoints import Checkpoints, State

base = Path(sys.argv[1])
tensors, moments = {"a": torch.ones(2, 3)}, {"a/exp_avg": torch.zeros(2, 3)}
calls, last = [], None

def counted(name, really):
    def call(*args, **options):
        if len(calls) == last:
            os._exit(9)
        calls.append((name, str(args[0])))
        return really(*args, **options)
    return call

def save(folder, step, best):
    history = [{"step": n, "loss": 1.0} for n in range(10, step + 1, 10)]
    Checkpoints(folder).save(State(step=step, best_step=best, history=history), tensors, moments)

def begin(folder, how):
    for step, best in ((10, 10), (20, 10)):
        save(folder, step, best)
    if how in ("same", "damaged"):  # the step is there already
        save(folder, 30, 10)
    if how == "damaged":
        (folder / "step-00030" / "model.safetensors").write_bytes(b"no")

def under_way(folder, how):
    save(folder, 30, 30 if how == "best" else 10)

def install():
    for name in ("rename", "replace", "fsync", "unlink", "rmdir", "mkdir"):
        setattr(os, name, counted(name, getattr(os, name)))
    shutil.rmtree = counted("rmtree", shutil.rmtree)
    safetensors.torch.save_file = counted("save_file", safetensors.torch.save_file)

def ends_before_call(number, folder, how):
    global last
    shutil.copytree(base / how / "before", folder)
    child = os.fork()
    if not child:
        install()
        last = number
        under_way(folder, how)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

for how in ("next", "best", "same", "damaged"):
    begin(base / how / "before", how)
    number = 0
    while (code := ends_before_call(number, base / how / str(number), how)) == 9:
        number += 1
    if code:
        sys.exit(code)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """A folder a way to save, and in it one for each call that the process ended before."""
    base = tmp_path_factory.mktemp("killed")
    subprocess.run([sys.executable, "-c", PROGRAM, str(base)], check=True)
    return base


@pytest.mark.parametrize("how", ["next", "best", "same", "damaged"])
def test_a_process_that_ends_anywhere_in_a_save_leaves_a_whole_checkpoint(killed, how):
    folders = sorted((killed / how).glob("[0-9]*"), key=lambda path: int(path.name))
    assert len(folders) > 15
    before = {"next": 20, "best": 20, "same": 30, "damaged": 10}[how]
    for folder in folders:
        found = Checkpoints(folder)
        newest = found.newest()
        assert newest.step >= before, folder
        assert not found.at(newest.state().best_step).problem(), folder
        assert not list(folder.glob(".*")), folder
        assert found.notices == [] or how == "damaged", folder
    assert Checkpoints(folders[-1]).newest().step == 30


def test_files_reach_the_disk_before_the_manifest_and_the_folder_before_its_name(tmp_path, monkeypatch):
    done = []

    def noted(name, really):
        def call(target, *args, **options):
            path = Path(os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else target)
            done.append((name, path.name.lstrip(".").partition(".json.")[0]))
            return really(target, *args, **options)

        return call

    for name in ("fsync", "rename"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    Checkpoints(tmp_path / "checkpoints").save(State(step=40, best_step=40), TENSORS, MOMENTS)
    files = {("fsync", name) for name in ("model.safetensors", "optimizer.safetensors", "state")}
    manifest = done.index(("fsync", "manifest"))
    assert files <= set(done[:manifest])
    assert done[manifest + 1 :] == [
        ("fsync", "new-step-00040"), ("rename", "new-step-00040"), ("fsync", "checkpoints"),
    ]  # fmt: skip


def test_a_save_that_is_not_read_back_leaves_the_older_ones(saved, monkeypatch):
    def damaging(path, really=tensor_files.sync):
        really(path)
        flip(path)

    monkeypatch.setattr(tensor_files, "sync", damaging)
    with pytest.raises(RunError, match=r"read back as it was written, and `model\.safetensors` was not"):
        saved.save(State(step=40, best_step=40), TENSORS, MOMENTS)
    assert sorted(p.name for p in saved.folder.iterdir()) == ["step-00010", "step-00030"]
    assert saved.newest().step == 30
