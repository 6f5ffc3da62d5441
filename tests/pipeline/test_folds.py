"""Cross-validation: each fold is a run of its own, and all rows are scored together."""

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

import tunesmith
from tunesmith import pipeline
from tunesmith.errors import InterruptedRunError
from tunesmith.events import Finished
from tunesmith.pipeline.folds import folder_of_folds
from tunesmith.recipe import Recipe
from tunesmith.testing.tiny import tiny_task_rows, write_rows, write_tiny_model

FOLDS = 3


def recipe_of(task, model, file, folder, **more):
    return Recipe.model_validate({
        "task": task, "model": str(model), "output_dir": str(folder),
        "data": {"train": [str(file)], "validation": 0.2, "check": "off"},
        "train": {"folds": FOLDS, "max_steps": 6, "learning_rate": 5e-3, "per_device_train_batch_size": 8},
        "evaluate": {"bootstrap_samples": 100, "baselines": False}, **more,
    })  # fmt: skip


def lines_of(run, n=FOLDS):
    """The answered rows of all folds."""
    folder = folder_of_folds(run.path)
    files = [folder / str(fold) / "predictions" / "test.jsonl" for fold in range(1, n + 1)]
    return [[json.loads(line) for line in file.read_text().splitlines()] for file in files]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model") / "bert")


@pytest.mark.slow
def test_every_training_row_is_answered_once_by_a_model_that_had_not_learned_from_it(model, tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", tiny_task_rows("text-classification", 120))
    ended = []
    run = pipeline.train(
        recipe_of("text-classification", model, file, tmp_path / "run"),
        listeners=[lambda event: ended.append(event) if isinstance(event, Finished) else None],
    )
    assert [event.run for event in ended] == [str(run.path)]
    found = run.metrics["folds"]
    parts = lines_of(run)
    ids = [line["row"] for part in parts for line in part]
    learned = json.loads((run.data / "splits.json").read_text())["train"]
    assert sorted(ids) == sorted(learned)
    for fold, part in enumerate(parts, start=1):
        splits = json.loads((folder_of_folds(run.path) / str(fold) / "data" / "splits.json").read_text())
        assert not {line["row"] for line in part} & {*splits["train"], *splits["validation"]}
    # A row that is nearly a training text of another fold does not count.
    parts = [[line for line in part if "left_out" not in line] for part in parts]
    shares = [np.mean([line["correct"] for line in part]) for part in parts]
    assert found["metric"] == "accuracy"
    assert found["values"] == pytest.approx(shares)
    assert found["mean"] == pytest.approx(np.mean(shares))
    assert found["deviation"] == pytest.approx(np.std(shares, ddof=1))
    rows = [line for part in parts for line in part]
    gold, answers = [x["gold"] for x in rows], [x["prediction"]["label"] for x in rows]
    assert found["rows"] == len(rows)
    together = found["together"]
    assert together["accuracy"]["value"] == pytest.approx(accuracy_score(gold, answers))
    assert together["f1_macro"]["value"] == pytest.approx(f1_score(gold, answers, average="macro"))
    assert together["accuracy"]["low"] < together["accuracy"]["value"] < together["accuracy"]["high"]
    assert found["text"].startswith("3-fold cross-validation: accuracy")
    assert "Cross-validation" in (run.path / "report.html").read_text()


@pytest.mark.slow
def test_a_stopped_cross_validation_goes_on_where_it_was(model, tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", tiny_task_rows("text-classification", 120))
    recipe = recipe_of("text-classification", model, file, tmp_path / "run")
    asked = []

    def stop():
        asked.append(True)
        return len(asked) > 9  # in the second fold

    with pytest.raises(InterruptedRunError):
        pipeline.train(recipe, should_stop=stop)
    folder = folder_of_folds(tmp_path / "run")
    first = (folder / "1" / "metrics.json").read_bytes()
    assert not (folder / "2" / "metrics.json").exists()
    events = (folder / "1" / "events.jsonl").read_bytes()
    stopped = pipeline.train(recipe)
    assert (folder / "1" / "metrics.json").read_bytes() == first
    assert (folder / "1" / "events.jsonl").read_bytes() == events
    whole = pipeline.train(recipe.model_copy(update={"output_dir": str(tmp_path / "whole")}))
    assert stopped.metrics["folds"] == whole.metrics["folds"]


@pytest.mark.slow
def test_numbers_from_the_public_interface(model, tmp_path):
    file = write_rows(tmp_path / "numbers.jsonl", tiny_task_rows("text-regression", 60))
    run = tunesmith.train(
        str(file), task="text-regression", model=str(model), output_dir=tmp_path / "run", method="probe",
        overrides={"train.folds": 2, "data.check": "off", "evaluate.baselines": False}, progress=False,
    )  # fmt: skip
    found, parts = run.metrics["folds"], lines_of(run, 2)
    errors = [abs(line["gold"] - line["prediction"]["score"]) for part in parts for line in part]
    assert found["together"]["mae"]["value"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert "2-fold cross-validation" in str(run.metrics)
