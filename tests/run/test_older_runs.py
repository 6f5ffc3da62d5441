"""Runs that the version before formats made, read by this one: see format_1/README.md."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import tunesmith
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.run.migrations import FORMAT
from tunesmith.training.checkpoints import Checkpoints

FORMAT_1 = Path(__file__).parent / "format_1"
TEXTS = ["the [MASK] is red", "a big [MASK] near the crow"]


@pytest.fixture
def older(tmp_path) -> Path:
    """A copy of the folder: its runs name their data and model by relative paths from elsewhere."""
    return Path(shutil.copytree(FORMAT_1, tmp_path / "elsewhere"))


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((FORMAT_1 / "expected.json").read_text())


def the_recipe(older: Path, name: str) -> Recipe:
    """What the user asked for, with today's paths."""
    requested = json.loads((older / name / "manifest.json").read_text())["requested"]
    asked = {key: requested["train"][key] for key in ("num_train_epochs", "learning_rate", "bf16")}
    asked |= {
        key: requested["train"][key] for key in ("per_device_train_batch_size", "eval_steps", "save_steps")
    }
    return Recipe.model_validate({
        "task": requested["task"], "model": str(older / "base"), "output_dir": str(older / name),
        "data": {"train": [str(older / "train.csv")], "test": [str(older / "test.csv")]},
        "train": asked, "evaluate": {"bootstrap_samples": 100},
    })  # fmt: skip


def assert_close(found: Any, expected: Any, path: str = "") -> None:
    """Equal but for the last digits of numbers, which other processors compute otherwise, and for intervals.

    Later versions may have better intervals; the values that they stand around stay.
    """
    if isinstance(expected, dict) and {"low", "high"} <= expected.keys():
        expected, found = ({**d, "low": 0.0, "high": 0.0} for d in (expected, found))
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), path
        for key, value in expected.items():
            assert_close(found[key], value, f"{path}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), path
        for i, value in enumerate(expected):
            assert_close(found[i], value, f"{path}[{i}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4), path
    else:
        assert found == expected, path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_run_predicts_and_evaluates_as_before_and_its_files_stay(older, expected):
    before = contents(older / "finished")
    assert_close(tunesmith.predict(older / "finished", TEXTS, top_k=None), expected["predictions"])
    assert_close(tunesmith.evaluate(older / "finished", str(older / "test.csv")), expected["evaluation"])
    assert tunesmith.train(the_recipe(older, "finished")).is_finished
    assert contents(older / "finished") == before


def facts_of(card: str) -> list[str]:
    """The title of a model card, its scores and those of its baselines."""
    lines = card.split("## How it was made")[0].splitlines()
    return [line for line in lines if line.startswith(("# ", "|"))]


def test_a_finished_run_shows_what_its_report_is_made_from(older):
    from tunesmith.reports import write_card, write_report

    run = Run.open(older / "finished")
    manifest, metrics = run.manifest(), run.metrics
    assert (manifest["format"], manifest["migrated_from"], run.run_id) == (FORMAT, 1, "")
    assert manifest["label_schema"] is not None
    assert manifest["base_model"] == metrics["baselines"]["base_model"]
    assert not {"targets", "untouched"} & {*manifest, *metrics["baselines"]}
    card = (run.model / "README.md").read_text()
    write_card(run)
    then, now = (facts_of(text) for text in (card, (run.model / "README.md").read_text()))
    assert now[: len(then)] == [fact.replace("untouched", "base_model") for fact in then]
    assert [line.split(" | ")[:2] for line in now[len(then) + 2 :]] == [
        ["| train", "29"], ["| validation", "3"], ["| test", "16"]
    ]  # fmt: skip
    assert "The licence is unknown" in (run.model / "README.md").read_text()
    write_report(run)
    assert "the model before training" in run.report_file.read_text()


def test_an_interrupted_run_resumes_to_the_same_end(older, expected):
    from safetensors.torch import load_file

    checkpoints = Checkpoints.of(Run(older / "interrupted"))
    newest = checkpoints.newest()
    assert (newest.step, newest.state().best_step, newest.state().evals_without_improvement) == (7, 6, 2)
    run = tunesmith.train(the_recipe(older, "interrupted"))
    assert run.is_finished
    train = run.metrics["train"]
    assert (train["steps"], [entry["step"] for entry in train["history"]]) == (12, [2, 4, 6, 8, 10, 12])
    # From here on it holds its training texts: its evaluation says more than that of the old version did.
    again = tunesmith.evaluate(run.path, str(older / "test.csv"))
    assert again["seen_in_training"]["of"] == again["primary"]["n"]
    assert_close({name: again[name] for name in expected["resumed"]}, expected["resumed"])
    found, there = load_file(run.model / "model.safetensors"), load_file(older / "resumed.safetensors")
    assert found.keys() == there.keys()
    assert max(float((found[name] - there[name]).abs().max()) for name in there) < 1e-5


def test_a_resumed_run_is_written_in_todays_format_and_owns_its_checkpoints(older):
    run = tunesmith.train(the_recipe(older, "interrupted"))
    manifest = json.loads(run.manifest_file.read_text())
    assert (manifest["format"], manifest["migrated_from"]) == (FORMAT, 1)
    assert manifest["label_schema"] == {"labels": ["animal", "colour"]}
    assert "targets" not in manifest
    assert manifest["requested_keys"] == sorted([
        "data.test", "data.train", "evaluate.bootstrap_samples", "model", "output_dir", "train.bf16",
        "train.eval_steps", "train.learning_rate", "train.num_train_epochs", "train.per_device_train_batch_size",
        "train.save_steps",
    ])  # fmt: skip
    assert Checkpoints.of(run).newest().manifest()["run_id"] == manifest["run_id"] == run.run_id
