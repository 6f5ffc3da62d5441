"""What every test starts from: no network, a cache of its own, a tiny model, a few rows."""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["COLUMNS"] = "120"
# Tiny matrices are slower on two threads than on one, and much slower beside another process.
os.environ["OMP_NUM_THREADS"] = "1"

from tunesmith.cli.main import main
from tunesmith.recipe import Recipe
from tunesmith.testing._fixtures import leanly, wholly
from tunesmith.testing.tiny import tiny_rows, write_rows, write_tiny_model

SHARED = Path(__file__).parents[2] / "shared"


def pytest_configure() -> None:
    """As the command line does: with Python's threshold, all objects of torch are looked at again and again."""
    gc.set_threshold(10_000, 10, 10)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests come first, so that of two processes none waits for the other at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow") or "faults" in item.path.parts}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("data")
    rows = tiny_rows(260)
    return {
        "train": write_rows(folder / "train.csv", rows[:160]),
        "validation": write_rows(folder / "validation.csv", rows[160:200]),
        "test": write_rows(folder / "test.csv", rows[200:]),
    }


@pytest.fixture
def tiny_recipe(tiny_model, tiny_files, tmp_path) -> Recipe:
    return Recipe.model_validate({
        "model": str(tiny_model),
        "output_dir": str(tmp_path / "run"),
        "data": {split: [str(path)] for split, path in tiny_files.items()},
        "train": {"num_train_epochs": 2, "learning_rate": 5e-3, "per_device_train_batch_size": 16},
        "evaluate": {"bootstrap_samples": 200},
    })  # fmt: skip


@pytest.fixture(scope="session")
def finished_run(tiny_model, tiny_files, tmp_path_factory):
    """One finished training that many tests read."""
    from tunesmith import pipeline

    recipe = Recipe.model_validate({
        "model": str(tiny_model),
        "output_dir": str(tmp_path_factory.mktemp("runs") / "finished"),
        "data": {split: [str(path)] for split, path in tiny_files.items()},
        "train": {"num_train_epochs": 3, "learning_rate": 5e-3, "per_device_train_batch_size": 16},
        "evaluate": {"bootstrap_samples": 200},
    })  # fmt: skip
    with wholly():  # also in files that are `lean`
        return pipeline.train(recipe)


@pytest.fixture(scope="module")
def lean():
    """Trainings that neither check their data, where that only warns, nor draw a report: two fifths of a tiny one.

    For files that do not look at these.
    """
    with leanly():
        yield


@pytest.fixture(scope="session")
def postgresql():
    """URL of a real server, where Debian's `postgresql` and the extra `postgresql` are installed."""
    from tunesmith.testing.postgresql import running_postgresql, server_programs

    if (programs := server_programs()) is None:
        pytest.skip("needs a PostgreSQL server: `apt-get install postgresql`")
    pytest.importorskip("psycopg", reason="needs `pip install 'tunesmith[postgresql]'`")
    with running_postgresql(programs) as url:
        yield url


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data sets and models; only where they are."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared data, and {SHARED} is absent")
    return SHARED


@pytest.fixture(scope="session")
def smollm() -> Path:
    """The folder of the embedded decoder; read from its package once, into the usual cache."""
    from tunesmith.models.packaged import PACKAGED, how_to_install
    from tunesmith.models.resolve import resolve_model

    if missing := how_to_install(SMOLLM):
        pytest.skip(missing)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TUNESMITH_CACHE", raising=False)
        found = resolve_model(SMOLLM)
    assert found.kind == "package", f"another copy hides {PACKAGED[SMOLLM].module}"
    return found.path


SMOLLM = "HuggingFaceTB/SmolLM2-135M-Instruct"


@dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def tunesmith(monkeypatch, capsys):
    """Runs the command in this process."""

    def call(*arguments, stdin=None):
        monkeypatch.setattr(sys, "argv", ["tunesmith", *map(str, arguments)])
        if stdin is not None:
            import io

            monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        code = stopped.value.code
        return Done(code if isinstance(code, int) else int(bool(code)), captured.out, captured.err)

    return call
