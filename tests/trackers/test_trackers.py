"""Trackers for real: a tiny training, and what each tracker's own reader finds afterwards."""

import json
import os
import sqlite3
from pathlib import Path

import pytest

from tunesmith import pipeline
from tunesmith.errors import InterruptedRunError, UnknownNameError, UserError
from tunesmith.hooks import Hooks
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.testing.listeners import Recorder, at_step
from tunesmith.trackers import TRACKERS, Opened, Tracker

NAMES = ["tensorboard", "mlflow", "trackio"]
for _module in NAMES:
    pytest.importorskip(_module)
import trackio  # noqa: E402
import trackio.sqlite_storage as storage  # noqa: E402


class Logs:
    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            logs["twice"] = 2 * logs["loss"]


def a_recipe(model, files, folder, names, **train):
    return Recipe.model_validate({
        "model": str(model),
        "output_dir": str(folder),
        "data": {split: [str(path)] for split, path in files.items()},
        "train": {"max_steps": 6, "eval_steps": 3, "learning_rate": 5e-3, "per_device_train_batch_size": 16,
                  "logging_steps": 1, "report_to": names, **train},
        "evaluate": {"bootstrap_samples": 200},
    })  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A current folder of its own, and a home for trackio."""
    folder, before = tmp_path_factory.mktemp("tracked"), Path.cwd()
    patch = pytest.MonkeyPatch()
    for module in (storage, trackio.utils):
        patch.setattr(module, "TRACKIO_DIR", folder / "trackio")
    patch.setattr(trackio.utils, "ARTIFACTS_DIR", folder / "trackio" / "artifacts")
    os.chdir(folder)
    yield folder
    os.chdir(before)
    patch.undo()


@pytest.fixture(scope="module")
def tracked(tiny_model, tiny_files, place) -> Run:
    """A run that was stopped after two of six steps and resumed."""
    recipe = a_recipe(tiny_model, tiny_files, place / "reviews", NAMES)
    hooks = Hooks(callbacks=[Logs()])
    with pytest.raises(InterruptedRunError):
        asked = iter([False, True])
        pipeline.train(recipe, hooks=hooks, should_stop=lambda: next(asked))
    recorder = Recorder()
    run = pipeline.train(recipe, hooks=hooks, listeners=[recorder])
    assert recorder.warnings == []
    return run


@pytest.fixture(scope="module")
def curve(tracked) -> dict[int, float]:
    return {e["step"]: e["loss"] for e in tracked.events() if e["kind"] == "step"}


def test_tensorboard_reads_it_back(tracked, curve):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(tracked.path / "trackers" / "tensorboard"))
    read.Reload()
    assert [(e.step, pytest.approx(curve[e.step])) for e in read.Scalars("train/loss")] == [
        (e.step, e.value) for e in read.Scalars("train/loss")
    ]
    assert [e.step for e in read.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    assert [e.step for e in read.Scalars("validation/accuracy")] == [3, 6]
    assert read.Scalars("twice")[0].value == pytest.approx(2 * curve[1])
    primary = tracked.metrics["primary"]
    for end, key in (("", "value"), ("_low", "low"), ("_high", "high")):
        assert read.Scalars(f"test/accuracy{end}")[-1].value == pytest.approx(primary[key])
    written = list((tracked.path / "trackers" / "tensorboard").glob("*/hparams.yml"))
    assert len(written) == 1
    assert "train.learning_rate: 0.005" in written[0].read_text()


def test_mlflow_reads_it_back(tracked, curve, place):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(place / "mlruns").as_uri())
    (experiment,) = [e for e in client.search_experiments() if e.name == "tunesmith"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("reviews", "FINISHED")
    assert found.data.tags["tunesmith.run_id"] == tracked.run_id
    history = client.get_metric_history(found.info.run_id, "train/loss")
    assert {entry.step: entry.value for entry in history} == curve
    assert len(history) == 6
    assert found.data.metrics["test/accuracy_low"] == tracked.metrics["primary"]["low"]
    assert (
        found.data.metrics["baselines/majority/accuracy"]
        == tracked.metrics["baselines"]["majority"]["accuracy"]
    )
    assert found.data.params["train.learning_rate"] == "0.005"
    assert found.data.params["hooks.callbacks"].endswith("test_trackers.Logs")
    report = client.download_artifacts(found.info.run_id, "report.html", str(place))
    assert Path(report).read_text() == tracked.report_file.read_text()


def test_trackio_reads_it_back(tracked, curve):
    database = storage.SQLiteStorage.get_project_db_path("tunesmith")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("select run_name, step, metrics from metrics order by id").fetchall()
    entries = [(step, json.loads(metrics)) for name, step, metrics in rows]
    assert {name for name, _, _ in rows} == {"reviews"}
    assert {step: m["train/loss"] for step, m in entries if "train/loss" in m} == pytest.approx(curve)
    assert [step for step, m in entries if "train/loss" in m] == [1, 2, 3, 4, 5, 6]
    (final,) = [m for _, m in entries if "test/accuracy" in m]
    assert final["test/accuracy_high"] == tracked.metrics["primary"]["high"]
    assert len(storage.SQLiteStorage.get_runs("tunesmith")) == 1
    config = storage.SQLiteStorage.get_run_config("tunesmith", "reviews")
    assert config["train.learning_rate"] == 0.005
    artefacts = storage.SQLiteStorage.list_artifacts("tunesmith")
    assert f"{tracked.run_id[:12]}-report" in [one["name"] for one in artefacts]


def test_the_manifest_says_where(tracked):
    found = tracked.manifest()["trackers"]
    assert set(found) == set(NAMES)
    assert found["mlflow"]["run_id"]


def test_nothing_is_printed_on_standard_output(tiny_model, tiny_files, place, capfd):
    recipe = a_recipe(tiny_model, tiny_files, place / "quiet", NAMES, method="probe", max_steps=None,
                      eval_steps="auto", learning_rate="auto", per_device_train_batch_size=None,
                      logging_steps=10)  # fmt: skip
    run = pipeline.train(recipe)
    assert capfd.readouterr().out == ""
    assert set(run.manifest()["trackers"]) == set(NAMES)  # also without a loop


class Failing:
    """An object of accelerate whose server goes away."""

    def __init__(self):
        self.steps = []

    def store_init_configuration(self, values):
        pass

    def log(self, values, step=None):
        self.steps.append(step)
        if step == 2:
            raise ConnectionError("the server is gone\nand more")

    def finish(self):
        raise AssertionError("it failed before")


def test_a_tracker_that_fails_does_not_lose_the_training(tiny_model, tiny_files, tmp_path, monkeypatch):
    failing, recorder = Failing(), Recorder()
    recipe = a_recipe(tiny_model, tiny_files, tmp_path / "run", ["away", "tensorboard"])
    with TRACKERS.replaced("away", Tracker("fails", lambda run: Opened(failing))):
        run = pipeline.train(recipe, listeners=[recorder])
    assert run.is_finished
    assert failing.steps == [1, 2]
    assert [w for w in recorder.warnings if "tracker" in w] == [
        "the tracker away failed and gets nothing from here on: the server is gone"
    ]
    assert list((run.path / "trackers" / "tensorboard").glob("events*"))


def test_one_that_cannot_begin_does_not_either(tiny_model, tiny_files, tmp_path, monkeypatch):
    recorder = Recorder()
    recipe = a_recipe(tiny_model, tiny_files, tmp_path / "run", ["away"])
    with TRACKERS.replaced("away", Tracker("fails", lambda run: 1 / 0)):
        run = pipeline.train(recipe, listeners=[recorder])
    assert run.is_finished
    assert "the tracker away failed and gets nothing from here on: division by zero" in recorder.warnings


def test_after_a_kill_no_step_is_there_twice(tiny_model, tiny_files, place):
    """The process ends between a logged step and its checkpoint: step 5 is logged, and step 3 is saved."""
    recipe = a_recipe(tiny_model, tiny_files, place / "killed", NAMES)
    with pytest.raises(KeyboardInterrupt):
        pipeline.train(recipe, listeners=[_raising_after_trackers(5)])
    run = pipeline.train(recipe)
    from mlflow import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    uri, run_id = (run.manifest()["trackers"]["mlflow"][key] for key in ("tracking_uri", "run_id"))
    history = MlflowClient(tracking_uri=uri).get_metric_history(run_id, "train/loss")
    assert [entry.step for entry in history] == [1, 2, 3, 4, 5, 6]
    read = EventAccumulator(str(run.path / "trackers" / "tensorboard"))
    read.Reload()
    assert [e.step for e in read.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    files = (run.path / "trackers" / "tensorboard").glob("events.out.tfevents.*")
    first, second = sorted(int(file.name.split(".")[3]) for file in files)
    assert first < second, "the order of their names, in which they are read, is that of their start"


def _raising_after_trackers(step):
    """Listeners of a program come before trackers: it raises with the next step."""

    def act():
        raise KeyboardInterrupt

    return at_step(step + 1, act)


def test_unknown_and_missing_are_errors_at_once(tiny_model, tiny_files, tmp_path):
    for name, error, message in (
        ("neptune", UnknownNameError, "Known: `mlflow`, `tensorboard`, `trackio`, `wandb`"),
        ("tensorbord", UnknownNameError, "Did you mean `tensorboard`"),
        ("wandb", UserError, r"needs the package `wandb`.*\n.*pip install 'tunesmith\[wandb\]'"),
    ):
        if name == "wandb" and _is_installed("wandb"):
            continue
        with pytest.raises(error, match=message):
            pipeline.train(a_recipe(tiny_model, tiny_files, tmp_path / name, [name]))
        assert not (tmp_path / name / "manifest.json").exists()


def _is_installed(name):
    import importlib.util

    return importlib.util.find_spec(name) is not None


def test_none_of_transformers_is_none(tiny_model, tiny_files, tmp_path):
    assert a_recipe(tiny_model, tiny_files, tmp_path, "none").train.report_to == []
    assert a_recipe(tiny_model, tiny_files, tmp_path, "mlflow").train.report_to == ["mlflow"]


def test_a_run_without_trackers_has_no_trace_of_them(finished_run):
    assert "trackers" not in finished_run.manifest()
    assert not (finished_run.path / "trackers").exists()
