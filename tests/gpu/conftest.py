"""What tests on a CUDA device start from. Without a device, they are skipped."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import FAMILIES, tiny_task_rows, write_rows, write_tiny_model
from tunesmith.testing.tiny_tasks import TINY_TASKS


@pytest.fixture(autouse=True)
def _gpu():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device, and torch finds none")
    yield
    torch.cuda.empty_cache()


@pytest.fixture
def recipe_of(tmp_path):
    """From a task and a name to a recipe of ten steps in float32, without dropout unless asked for."""

    def make(task, name, *, dropout=0.0, **train):
        family = TINY_TASKS.get(task).family or FAMILIES.get(TASKS.get(task).auto_class, "bert")
        model = tmp_path / f"{family}-{dropout}"
        if not model.exists():
            write_tiny_model(model, family=family, dropout=dropout)
        rows = tiny_task_rows(task, 120)
        files = {"train": rows[:80], "validation": rows[80:100], "test": rows[100:]}
        found = {split: [str(write_rows(tmp_path / f"{split}.jsonl", part))] for split, part in files.items()}
        how = {"max_steps": 10, "per_device_train_batch_size": 16, "learning_rate": 2e-3, "bf16": False}
        if TASKS.get(task).probe is not None:
            how["head_start"] = False  # its solver makes much of the last digits of features
        writes = (
            TASKS.get(task).auto_class == "AutoModelForCausalLM" and TASKS.get(task).generation is not None
        )
        evaluate = {"bootstrap_samples": 100} | ({"samples": 2} if writes else {})
        return Recipe.model_validate({
            "task": task, "model": str(model), "output_dir": str(tmp_path / name), "data": found,
            "train": {**how, "logging_steps": 1, **train}, "evaluate": evaluate,
        })  # fmt: skip

    return make


@pytest.fixture
def command():
    """Runs the command in a process of its own, which sees no GPU unless it is told to; what it prints."""

    def call(*arguments, device="cpu", launcher=()):
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": {"cpu": "", "gpu": "0"}[device]}
        started = [sys.executable, "-m", *launcher, "tunesmith", *map(str, arguments)]
        done = subprocess.run(started, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return call


@pytest.fixture
def train_on_cpu(command, tmp_path):
    """Trains a recipe in a process that sees no GPU; the run."""

    def train(recipe):
        file = tmp_path / "recipe.yaml"
        file.write_text(recipe.to_yaml())
        command("train", file)
        run = Run.open(recipe.output_dir)
        assert run.manifest()["machine"]["device"] == "cpu"
        return run

    return train
