"""`torchrun` starts two processes; together they learn what one learns alone, and stop together."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from tunesmith import pipeline
from tunesmith.errors import RunError
from tunesmith.events import Events
from tunesmith.models.resolve import resolve_model
from tunesmith.pipeline.encode import encode
from tunesmith.pipeline.open_model import open_model
from tunesmith.pipeline.prepare import prepare_data
from tunesmith.pipeline.work import Work
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import tiny_task_rows, write_rows, write_tiny_model
from tunesmith.training.processes import Processes

FAMILIES = {
    "text-classification": "bert",
    "token-classification": "bert",
    "text-similarity": "bert",
    "chat": "llama",
}


@pytest.fixture
def recipe_of(tmp_path):
    """From a task to a recipe; a step has two forward passes, or one in each of two processes."""

    def make(task, name, processes, **train):
        model = tmp_path / FAMILIES[task]
        if not model.exists():
            write_tiny_model(model, family=FAMILIES[task])
        rows = tiny_task_rows(task, 72)
        files = {"train": rows[:48], "validation": rows[48:60], "test": rows[60:]}
        found = {split: [str(write_rows(tmp_path / f"{split}.jsonl", part))] for split, part in files.items()}
        steps = {"max_steps": 10, "eval_steps": 5, "learning_rate": 2e-3}
        cut = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2 // processes}
        return Recipe.model_validate({
            "task": task, "model": str(model), "output_dir": str(tmp_path / name), "data": found,
            "train": {**steps, **cut, **train},
            "evaluate": {"bootstrap_samples": 100, **({"samples": 2} if task == "chat" else {})},
        })  # fmt: skip

    return make


def launch(recipe, folder, **environment):
    file = folder / "recipe.yaml"
    file.write_text(recipe.to_yaml())
    launcher = ["torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    command = [*launcher, "--rdzv-endpoint=localhost:0", "-m", "tunesmith", "train", str(file), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def finished(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out), err


def largest_difference(one, other):
    a, b = (load_file(run.model / "model.safetensors") for run in (one, other))
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.slow
@pytest.mark.parametrize("task", FAMILIES)
def test_two_processes_learn_what_one_learns(recipe_of, tmp_path, task):
    alone = pipeline.train(recipe_of(task, "alone", 1))
    printed, err = finished(launch(recipe_of(task, "together", 2), tmp_path))
    together = Run(tmp_path / "together")
    assert largest_difference(alone, together) < 1e-5
    assert together.metrics["splits"] == alone.metrics["splits"]
    assert printed["splits"] == together.metrics["splits"], "one process prints"
    assert err.count("Writing the report") == 1
    losses = [[e["loss"] for e in run.events() if e["kind"] == "step"] for run in (alone, together)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_the_run_resumes(recipe_of, tmp_path):
    how = {"max_steps": 60, "eval_steps": 60, "save_steps": 60, "logging_steps": 1}
    recipe = recipe_of("text-classification", "stopped", 2, **how)
    process, run = launch(recipe, tmp_path), Run(tmp_path / "stopped")
    try:
        wait_for(lambda: any(e["kind"] == "step" for e in run.events()), process)
        os.kill(ranks_of(process)[1], signal.SIGTERM)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert err.count("exitcode  : 75") == 2, err[-3000:]
    assert err.count("error: stopped by") == 1
    [saved] = run.checkpoints.glob("step-*")
    with pytest.raises(RunError, match="began with 2 processes, and this is 1"):
        pipeline.train(recipe)
    _, err = finished(launch(recipe, tmp_path))
    assert f"resuming from step {int(saved.name.removeprefix('step-'))} of 60" in err
    alone = pipeline.train(recipe_of("text-classification", "alone", 1, **how))
    assert largest_difference(alone, run) < 1e-5


@pytest.mark.slow
def test_an_error_is_said_once(recipe_of, tmp_path):
    recipe = recipe_of("text-classification", "wrong", 2).replace(data={"columns": {"text": "body"}})
    process = launch(recipe, tmp_path)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert err.count("error: ") == 1
    assert "body" in err
    assert not (tmp_path / "wrong").exists()


def wait_for(is_there, process):
    deadline = time.monotonic() + 120
    while not is_there():
        assert process.poll() is None, process.stderr.read()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ranks_of(process):
    """The processes that `torchrun` started, by rank."""
    import psutil

    ranks = {int(child.environ()["RANK"]): child.pid for child in psutil.Process(process.pid).children()}
    return [ranks[rank] for rank in sorted(ranks)]


@pytest.mark.slow
def test_an_error_while_the_others_wait_is_said_once(recipe_of, tmp_path):
    """Only the first process encodes at first; the others hear of its error."""
    recipe = recipe_of("text-classification", "wrong", 2).replace(data={"max_length": 4096})
    process = launch(recipe, tmp_path)
    _, err = process.communicate(timeout=120)
    assert "exitcode  : 2" in err, err[-3000:]  # torchrun may end the other one before it has ended itself
    assert err.count("error: ") == 1
    assert "data.max_length must be at most 64" in err


def test_the_first_process_chooses_the_length(tiny_recipe):
    """Another process has less memory, and would choose another one."""

    class Second(Processes):
        is_first = False
        first = staticmethod(lambda act: None)
        share = staticmethod(lambda value: 24)

    recipe = tiny_recipe
    run, task = Run(recipe.output_dir), TASKS.get(recipe.task)
    work = Work(run, task, recipe, recipe, Events(), False, Second(), lambda: False)
    opened = open_model(work, resolve_model(recipe.model), prepare_data(work))
    assert encode(work, opened).max_length == 24
