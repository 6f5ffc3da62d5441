import json
import os

import pytest
import torch

from tunesmith.errors import RunError
from tunesmith.training.checkpoints import Checkpoints, State

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}
MOMENTS = {"a/exp_avg": torch.zeros(2, 3), "a/step": torch.tensor(3.0)}


@pytest.fixture
def saved(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step in (10, 20, 30):
        checkpoints.save(State(step=step, best_step=10, history=[{"step": step}]), TENSORS, MOMENTS)
    return checkpoints


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
    sums = json.loads((saved.at(30).path / "manifest.json").read_text())["sha256"]
    assert sorted(sums) == ["model.safetensors", "optimizer.safetensors", "state.json"]


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


def test_the_best_is_not_believed_unseen(saved):
    assert saved.whole(10).step == 10
    flip(saved.at(10).path / "model.safetensors")
    with pytest.raises(
        RunError, match=r"best validation metric cannot be used: model\.safetensors is damaged"
    ):
        saved.whole(10)


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


def test_half_a_checkpoint_of_a_killed_save_is_ignored(saved):
    aside = saved.folder / ".new-step-00040"
    aside.mkdir()
    (aside / "model.safetensors").write_bytes(b"half")
    assert saved.newest().step == 30
    saved.save(State(step=40, best_step=10), TENSORS, MOMENTS)
    assert not aside.exists()
