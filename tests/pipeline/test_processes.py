"""`torchrun` starts two processes; together they learn what one learns alone, and stop together."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest
import torch
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
from tunesmith.testing import forked
from tunesmith.testing.tiny import tiny_task_rows, write_rows, write_tiny_model
from tunesmith.training.processes import Processes, _wait_for_gloo

pytestmark = pytest.mark.usefixtures("lean")

FAMILIES = {
    "text-classification": "bert",
    "token-classification": "bert",
    "text-similarity": "bert",
    "chat": "llama",
}


def make_recipe(folder, task, name, processes, **train):
    """A recipe for a task; a step has two forward passes, or one in each of two processes."""
    model = folder / FAMILIES[task]
    if not model.exists():
        write_tiny_model(model, family=FAMILIES[task])
    rows = tiny_task_rows(task, 72)
    files = {"train": rows[:48], "validation": rows[48:60], "test": rows[60:]}
    found = {
        split: [str(write_rows(folder / f"{task}-{split}.jsonl", part))] for split, part in files.items()
    }
    steps = {"max_steps": 10, "eval_steps": 5, "learning_rate": 2e-3}
    cut = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2 // processes}
    return Recipe.model_validate({
        "task": task, "model": str(model), "output_dir": str(folder / name), "data": found,
        "train": {**steps, **cut, **train},
        "evaluate": {"bootstrap_samples": 100, **({"samples": 2} if task == "chat" else {})},
    })  # fmt: skip


def torchrun(*program, **environment):
    launcher = ["torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    command = [*launcher, "--rdzv-endpoint=localhost:0", *map(str, program)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def launch(recipe, file):
    file.write_text(recipe.to_yaml())
    return torchrun("-m", "tunesmith", "train", file, "--json")


@dataclass(frozen=True)
class Command:
    """What `tunesmith train` did in each of two processes."""

    codes: list[int]
    out: list[str]
    err: list[str]


def train(file):
    """The command in this process, whose output goes to files beside the recipe."""
    from tunesmith.cli.main import main

    sys.argv = ["tunesmith", "train", str(file), "--json"]
    rank = os.environ["RANK"]
    with (
        file.with_name(f"{file.stem}-{rank}.out").open("w") as out,
        file.with_name(f"{file.stem}-{rank}.err").open("w") as err,
        redirect_stdout(out), redirect_stderr(err),
    ):  # fmt: skip
        main()


def one_of_two(folder):
    """`tunesmith train` with each recipe of a folder, one after the other."""
    processes = Processes()
    for file in sorted(folder.glob("*.yaml")):
        with pytest.raises(SystemExit) as ended:
            train(file)
        (folder / f"{file.stem}-{processes.rank}.code").write_text(str(ended.value.code))


def largest_difference(one, other):
    a, b = (load_file(run.model / "model.safetensors") for run in (one, other))
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


STEPS = {"max_steps": 60, "eval_steps": 60, "save_steps": 60, "logging_steps": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where all commands of two processes work."""
    return tmp_path_factory.mktemp("both")


@pytest.fixture(scope="module")
def stopped(folder):
    """A run whose second process got a signal, and what `torchrun` said; the next command resumes it."""
    recipe = make_recipe(folder, "text-classification", "stopped", 2, **STEPS)
    process, run = launch(recipe, folder / "stopped.yaml"), Run(folder / "stopped")
    try:
        wait_for(lambda: any(e["kind"] == "step" for e in run.events()), process)
        os.kill(ranks_of(process)[1], signal.SIGTERM)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    [saved] = run.checkpoints.glob("step-*")
    with pytest.raises(RunError, match="began with 2 processes, and this is 1"):
        pipeline.train(recipe)
    return int(saved.name.removeprefix("step-")), err


@pytest.fixture(scope="module")
def commands(folder, stopped):
    """What each command did in the same two processes, forked as `torchrun` starts them for `stopped`.

    The first command fails, and those after it find the processes in step.
    """
    wrong = make_recipe(folder, "text-classification", "wrong", 2).replace(data={"columns": {"text": "body"}})
    (folder / "0-wrong.yaml").write_text(wrong.to_yaml())
    for task in FAMILIES:
        (folder / f"{task}.yaml").write_text(make_recipe(folder, task, f"{task}-together", 2).to_yaml())
    assert forked.exit_codes_of_two(one_of_two, folder) == [0, 0]

    def said(name, kind):
        return [(folder / f"{name}-{rank}.{kind}").read_text() for rank in (0, 1)]

    return {
        name: Command([int(code) for code in said(name, "code")], said(name, "out"), said(name, "err"))
        for name in (file.stem for file in folder.glob("*.yaml"))
    }


@pytest.mark.slow
@pytest.mark.parametrize("task", FAMILIES)
def test_two_processes_learn_what_one_learns(folder, commands, task):
    alone = pipeline.train(make_recipe(folder, task, f"{task}-alone", 1))
    together, command = Run(folder / f"{task}-together"), commands[task]
    assert command.codes == [0, 0], command.err
    assert largest_difference(alone, together) < 1e-5
    assert together.metrics["splits"] == alone.metrics["splits"]
    assert command.out[1] == "", "one process prints"
    assert json.loads(command.out[0])["splits"] == together.metrics["splits"]
    assert "".join(command.err).count("Writing the report") == 1
    losses = [[e["loss"] for e in run.events() if e["kind"] == "step"] for run in (alone, together)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


@pytest.mark.slow
def test_an_error_is_said_once(folder, commands):
    wrong = commands["0-wrong"]
    assert wrong.codes == [2, 2]
    assert "body" in wrong.out[0]
    assert wrong.out[1] == ""
    assert "".join(wrong.err).count("error: ") == 1
    assert not (folder / "wrong").exists()


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_the_run_resumes(folder, stopped, commands):
    step, err = stopped
    assert err.count("exitcode  : 75") == 2, err[-3000:]
    assert err.count("error: stopped by") == 1
    assert commands["stopped"].codes == [0, 0], commands["stopped"].err
    assert f"resuming from step {step} of 60" in commands["stopped"].err[0]
    alone = pipeline.train(make_recipe(folder, "text-classification", "alone", 1, **STEPS))
    assert largest_difference(alone, Run(folder / "stopped")) < 1e-5


def train_short_of_memory(file):
    """Training in which passes of the second process with more than 24 tokens fail in the third step."""
    from tunesmith.training.objective import Objective

    really = Objective.__call__

    def failing(self, batch, step, part):
        if os.environ["RANK"] == "1" and step == 2 and batch["input_ids"].numel() > 24:
            torch.empty(2**55)
        return really(self, batch, step, part)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(Objective, "__call__", failing)
        train(file)
    sys.exit(ended.value.code)


@pytest.mark.slow
def test_memory_that_ends_in_one_process_halves_the_passes_of_both(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(make_recipe(tmp_path, "text-classification", "run", 2, max_steps=4).to_yaml())
    assert forked.exit_codes_of_two(train_short_of_memory, file) == [0, 0]
    said = [(tmp_path / f"recipe-{rank}.err").read_text() for rank in (0, 1)]
    assert "the memory ran out with forward passes" in said[0]
    assert "the memory ran out" not in said[1]
    run = Run(tmp_path / "run")
    assert run.recipe().train.tokens_per_micro_batch <= 24
    assert run.manifest()["used"]["train"]["tokens_per_micro_batch"] <= 24


def test_the_end_waits_for_a_tensor_that_is_in_use(monkeypatch):
    """As by a thread of gloo, which would abort the process later: `torchrun` then ends with an error."""
    tensor, weight = torch.ones(2), torch.ones(2, requires_grad=True)
    monkeypatch.setattr("tunesmith.training.processes._IN_USE", [tensor])
    held = [weight * tensor]
    threading.Timer(0.1, held.clear).start()
    start = time.monotonic()
    _wait_for_gloo()
    assert held == []
    assert 0.09 < time.monotonic() - start < 5


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


def test_an_error_while_the_others_wait_is_said_once(tmp_path):
    """Only the first process encodes at first; the others hear of its error."""
    recipe = make_recipe(tmp_path, "text-classification", "too-long", 2).replace(data={"max_length": 4096})
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    assert forked.exit_codes_of_two(train, tmp_path / "recipe.yaml") == [2, 2]
    said = [(tmp_path / f"recipe-{rank}.err").read_text() for rank in (0, 1)]
    assert "".join(said).count("error: ") == 1
    assert "data.max_length must be at most 64" in said[0]


def train_and_stop_the_second(file):
    """The command; the second process gets a signal before the loop, while the first one goes on."""
    if os.environ["RANK"] == "1":
        pipeline.training.open_model = lambda *given: os.kill(os.getpid(), signal.SIGTERM)
    train(file)


def test_a_signal_before_the_loop_stops_both_with_75(tmp_path):
    (tmp_path / "recipe.yaml").write_text(make_recipe(tmp_path, "text-classification", "run", 2).to_yaml())
    assert forked.exit_codes_of_two(train_and_stop_the_second, tmp_path / "recipe.yaml") == [75, 75]
    assert "another process has ended" in (tmp_path / "recipe-0.err").read_text()


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
