"""Run folders that were moved: no file in them leads back to where they were."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tunesmith
from tunesmith import pipeline
from tunesmith.errors import InterruptedRunError
from tunesmith.events import Event, Started
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.testing.tiny import tiny_rows, write_rows, write_tiny_model


def a_recipe(folder: Path, output_dir: Path) -> Recipe:
    return Recipe.model_validate({
        "model": str(folder / "base"),
        "output_dir": str(output_dir),
        "data": {"train": [str(folder / "train.csv")], "test": [str(folder / "test.csv")]},
        "train": {"max_steps": 6, "learning_rate": 5e-3, "per_device_train_batch_size": 8, "eval_steps": 2},
        "evaluate": {"bootstrap_samples": 100, "baselines": False},
    })  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A project with its model, its rows, a finished run and a stopped one, all named by absolute paths."""
    folder = tmp_path_factory.mktemp("project") / "original"
    write_tiny_model(folder / "base", width=8, layers=1)
    write_rows(folder / "train.csv", tiny_rows(40))
    write_rows(folder / "test.csv", tiny_rows(20, seed=1))
    pipeline.train(a_recipe(folder, folder / "finished"))
    steps = iter(range(1, 10))
    with pytest.raises(InterruptedRunError):
        pipeline.train(a_recipe(folder, folder / "stopped"), should_stop=lambda: next(steps) == 3)
    return folder


@pytest.fixture
def moved(original, tmp_path):
    """The whole project in another place, and nothing where it was."""
    hidden = original.with_name("hidden")
    shutil.copytree(original, tmp_path / "moved")
    original.rename(hidden)
    yield tmp_path / "moved"
    hidden.rename(original)


def weights(run: Run) -> bytes:
    return (run.model / "model.safetensors").read_bytes()


def test_a_finished_run_predicts_and_evaluates_where_it_is_now(moved, original):
    run = Run.open(moved / "finished")
    metrics = tunesmith.evaluate(run.path, str(moved / "test.csv"))
    assert metrics["splits"]["test"] == run.metrics["splits"]["test"]
    assert tunesmith.predict(run.path, "the cat is red")["label"] in ("animal", "colour")
    assert run.recipe().output_dir == str(run.path)
    assert pipeline.train(a_recipe(moved, run.path)).is_finished
    assert not original.exists()


def test_a_stopped_run_resumes_where_it_is_now_with_its_model_and_its_rows(moved, original):
    events: list[Event] = []
    run = pipeline.train(a_recipe(moved, moved / "stopped"), listeners=[events.append])
    assert Started(3, 6) in events
    assert weights(run) == weights(Run(moved / "finished"))
    assert run.recipe().model == str(moved / "base")
    assert tunesmith.evaluate(run.path, str(moved / "test.csv"))["primary"]["n"] == 20
    assert not original.exists()


@pytest.mark.parametrize("name", ["stopped", "finished"])
def test_the_recipe_of_a_moved_run_is_that_run(original, tmp_path, name):
    shutil.copytree(original / name, tmp_path / "alone")
    before = sorted(path.name for path in original.iterdir())
    run = tunesmith.train(tmp_path / "alone" / "recipe.yaml")
    assert run.path == tmp_path / "alone"
    assert weights(run) == weights(Run(original / "finished"))
    assert sorted(path.name for path in original.iterdir()) == before
    assert Run(original / "stopped").is_finished is False


def test_only_records_of_what_was_asked_name_the_folder(original):
    run = Run(original / "finished")
    named = str(run.path).encode()
    assert {path.name for path in run.path.rglob("*") if path.is_file() and named in path.read_bytes()} <= {
        "events.jsonl", "manifest.json", "recipe.yaml", "report.html",
    }  # fmt: skip
