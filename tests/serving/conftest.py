"""Tiny runs of many tasks, and a server for them: both are made once, and many tests ask it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tunesmith.testing.tiny import FAMILIES, different_rows, write_rows, write_tiny_model
from tunesmith.testing.tiny_tasks import TINY_TASKS

TASKS_SERVED = (
    "text-classification",
    "token-classification",
    "question-answering",
    "text-similarity",
    "fill-mask",
    "summarization",
    "chat",
)
_MORE = {
    "text-classification": {
        "evaluate": {"max_error": 0.3},
        "train": {"max_steps": 40, "learning_rate": 5e-3},
    },
}


class Runs(dict):
    """One finished training for each task, made when it is asked for first."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __missing__(self, task: str) -> Path:
        from tunesmith import pipeline
        from tunesmith.run import Run

        with pytest.MonkeyPatch.context() as patch, (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # processes of pytest-xdist share the runs
            if not Run(self.folder / task).is_finished:
                patch.setenv("TUNESMITH_CACHE", str(self.folder / "cache"))
                patch.setattr(pipeline.training, "write_report", lambda run: None)
                _train(task, self.folder)
        self[task] = self.folder / task
        return self[task]


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Runs:
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "served"
    folder.mkdir(exist_ok=True)
    return Runs(folder)


def _train(name: str, folder: Path) -> None:
    from tunesmith import pipeline
    from tunesmith.recipe import Recipe
    from tunesmith.tasks import TASKS

    tiny, generation = TINY_TASKS.get(name), TASKS.get(name).generation
    family = tiny.family or FAMILIES.get(TASKS.get(name).auto_class, "bert")
    base = folder / f"base-{family}"
    if not base.is_dir():
        write_tiny_model(base, family=family)
    rows = different_rows(tiny.make, 88, seed=0)
    parts = {"train": rows[:56], "validation": rows[56:72], "test": rows[72:]}
    tree = {
        "task": name,
        "model": str(base),
        "output_dir": str(folder / name),
        "data": {
            split: [str(write_rows(folder / f"{name}-{split}.jsonl", part))] for split, part in parts.items()
        },
        "train": {"max_steps": 8, "learning_rate": 2e-3, "per_device_train_batch_size": 8},
        "generate": {"max_new_tokens": 12} if generation else {},
        "evaluate": {"bootstrap_samples": 100},
    }
    if generation and not generation.scores_texts:
        tree["evaluate"]["samples"] = 2
    for section, values in _MORE.get(name, {}).items():
        tree[section].update(values)
    pipeline.train(Recipe.model_validate(tree))


@dataclass
class Served:
    url: str
    process: subprocess.Popen
    errors: list[str]
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, **how) -> httpx.Client:
        how.setdefault("headers", self.headers)
        return httpx.Client(base_url=self.url, trust_env=False, timeout=60, verify=False, **how)

    def workers(self) -> list[int]:
        import psutil

        children = psutil.Process(self.process.pid).children()
        return [child.pid for child in children if "tunesmith.serving.worker" in " ".join(child.cmdline())]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def _serving(*arguments):
    """A server in a process of its own, as the command line starts it."""
    command = [sys.executable, "-m", "tunesmith", "serve", *map(str, arguments), "--port", "0", "--json"]
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True)
    reader.start()
    try:
        line = process.stdout.readline()
        if not line:
            process.wait(30)
            reader.join(5)
        assert line, "".join(errors)
        yield Served(json.loads(line)["url"], process, errors)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()
        reader.join(5)
        process.stderr.close()


@pytest.fixture(scope="session")
def server(runs) -> Served:
    with _serving(
        *[runs[task] for task in TASKS_SERVED], "--max-body", 200_000, "--max-inputs", 100
    ) as served:
        yield served


@pytest.fixture(scope="session")
def serving():
    """Starts another server."""
    return _serving


@pytest.fixture
def client(server):
    with server.client() as found:
        yield found


@pytest.fixture(scope="session")
def predictors(runs):
    """What `tunesmith predict` answers, by the name of the run."""
    from tunesmith import load

    loaded = {}

    def get(name):
        if name not in loaded:
            loaded[name] = load(runs[name])
        return loaded[name]

    return get
