"""A memory that is too small is reported as that, and the model is not called unfit."""

from __future__ import annotations

import pytest
import torch

from tunesmith.errors import ModelError
from tunesmith.models import out_of_memory
from tunesmith.models.fitness import try_out
from tunesmith.models.loading import load_for_training
from tunesmith.models.out_of_memory import is_out_of_memory, killed_since, kills_for_memory
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import TASKS

TASK = TASKS.get("text-classification")


def too_much():
    """More than any machine has."""
    return torch.empty(1 << 58)


def test_a_trial_that_runs_out_of_memory(tiny_model):
    files = resolve_model(str(tiny_model))
    loaded = load_for_training(files, TASK, {"labels": ["a", "b"]}, pooling="auto", seed=0)
    loaded.model.base_model.register_forward_pre_hook(lambda *_: too_much())
    with pytest.raises(ModelError, match="the memory is too small") as caught:
        try_out(files, loaded.model, loaded.tokenizer, TASK, learns=True)
    assert "cannot be used" not in str(caught.value)
    assert "smaller model" in caught.value.remedy


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("You have to specify either input_ids or bbox"), False),
    ],
)
def test_which_errors_say_so(error, expected):
    assert is_out_of_memory(error) is expected


@pytest.fixture
def counts(tmp_path, monkeypatch):
    """Sets what the kernel counts: in the machine, and in a control group, of which there can be a new one."""

    def say(machine, group=None, name="one"):
        (tmp_path / "vmstat").write_text(f"pgfault 5\noom_kill {machine}\n")
        (tmp_path / name).mkdir(exist_ok=True)
        if group is not None:
            (tmp_path / name / "memory.events").write_text(f"oom 9\noom_kill {group}\noom_group_kill 0\n")
        monkeypatch.setattr(out_of_memory, "_MACHINE", tmp_path / "vmstat")
        monkeypatch.setattr(out_of_memory, "_GROUP", tmp_path / name)

    return say


def test_a_kill_in_the_container_counts_and_one_in_another_container_does_not(counts):
    counts(7, 2)
    before = kills_for_memory()
    assert not killed_since(before)
    counts(8, 2)
    assert not killed_since(before)
    counts(8, 3)
    assert killed_since(before)


def test_a_container_that_was_started_again_counts_from_zero_so_the_machine_counts(counts):
    counts(7, 2)
    before = kills_for_memory()
    counts(7, 0, name="two")
    assert not killed_since(before)
    counts(8, 0, name="two")
    assert killed_since(before)


def test_without_a_group_or_after_a_restart_of_the_machine(counts):
    counts(7)
    before = kills_for_memory()
    counts(8)
    assert killed_since(before)
    assert not killed_since({**before, "booted": "earlier"})
    assert not killed_since({})
