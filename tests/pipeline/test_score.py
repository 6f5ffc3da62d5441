"""What a run, and an evaluation of it, say beside the score."""

import csv
import shutil

import pytest

from tunesmith import pipeline
from tunesmith.cli.output import print_metrics
from tunesmith.errors import InterruptedRunError
from tunesmith.recipe import Recipe, TrainRecipe
from tunesmith.run import Run, read_json
from tunesmith.testing.listeners import Recorder
from tunesmith.testing.tiny import tiny_rows, tiny_task_rows, write_rows, write_tiny_model


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_training_ends_with_a_verdict(finished_run, capsys):
    metrics = finished_run.metrics
    verdict = metrics["verdict"]
    assert set(verdict) == {"text", "outcome", "against", "difference", "low", "high"}
    best = max(metrics["baselines"], key=lambda name: metrics["baselines"][name]["accuracy"])
    assert metrics["baselines"][verdict["against"]]["accuracy"] == metrics["baselines"][best]["accuracy"]
    gain = metrics["primary"]["value"] - metrics["baselines"][best]["accuracy"]
    assert verdict["difference"] == pytest.approx(gain)
    assert verdict["low"] <= gain <= verdict["high"]
    assert len(metrics["next_steps"]) == 3
    print_metrics(metrics)
    assert verdict["text"] in capsys.readouterr().out


def test_rows_of_the_training_are_recognised_and_scored_apart(finished_run, tiny_files, tmp_path, capsys):
    train, test = rows_of(tiny_files["train"]), rows_of(tiny_files["test"])
    loud = [{**row, "text": f"  {row['text'].upper()} "} for row in train[:15]]
    known = {" ".join(row["text"].split()).casefold() for row in train}
    new = [row for row in test if row["text"] not in known]
    mixed = pipeline.evaluate(finished_run.path, [str(write_rows(tmp_path / "mixed.csv", [*loud, *new]))])
    alone = pipeline.evaluate(finished_run.path, [str(write_rows(tmp_path / "new.csv", new))])
    near = alone["seen_in_training"]["rows"]
    assert (mixed["seen_in_training"]["rows"], mixed["seen_in_training"]["of"]) == (15 + near, 15 + len(new))
    assert mixed["splits"]["test"] == alone["splits"]["test"]
    assert (mixed["primary"]["n"], mixed["primary"]["left_out"]) == (len(new) - near, 15 + near)
    assert (mixed["seen_in_training"]["exact"], alone["seen_in_training"]["exact"]) == (15, 0)
    assert mixed["seen_in_training"]["with"]["accuracy"] != mixed["splits"]["test"]["accuracy"]
    assert "verdict" not in mixed
    print_metrics(mixed)
    said = f"{15 + near} of {15 + len(new)} test rows are also in training, or nearly, and left out of the scores"
    assert said in capsys.readouterr().out
    few = {**alone, "seen_in_training": {"rows": 0, "exact": 0, "of": len(new), "with": {}}}
    print_metrics(few)
    assert "also in training" not in capsys.readouterr().out


def test_a_run_that_does_not_hold_its_training_texts_says_so(finished_run, tiny_files, tmp_path):
    older = Run(shutil.copytree(finished_run.path, tmp_path / "older"))
    (older.data / "train_texts.npz").unlink()
    older.finish()
    recorder = Recorder()
    metrics = pipeline.evaluate(older.path, [str(tiny_files["test"])], listeners=[recorder])
    assert "seen_in_training" not in metrics
    assert any("rows that it was trained on are not recognised" in text for text in recorder.said)


def test_training_rows_among_the_test_rows_are_reported_by_the_run_itself(tiny_recipe, tiny_files, tmp_path):
    train, test = rows_of(tiny_files["train"]), rows_of(tiny_files["test"])
    file = write_rows(tmp_path / "test.csv", [*train[:20], *test])
    recipe = Recipe.model_validate({
        "model": tiny_recipe.model,
        "output_dir": tiny_recipe.output_dir,
        "data": {**tiny_recipe.data.model_dump(exclude_unset=True), "test": [str(file)]},
        "train": {"method": "probe"},
        "evaluate": {"bootstrap_samples": 100},
    })  # fmt: skip
    run = pipeline.train(recipe)
    seen = run.metrics["seen_in_training"]
    assert seen["rows"] >= 20
    assert run.metrics["primary"]["n"] == seen["of"] - seen["rows"] > 0
    assert set(seen["with"]) == {"accuracy", "f1_macro", "f1_weighted"}
    page = run.report_file.read_text()
    assert (
        f"{seen['rows']} of {seen['of']} test rows are also in training, or nearly" in page.split("<nav")[0]
    )
    verdict = run.metrics["verdict"]
    assert verdict["against"] != "probe", "a probe is not compared with itself"
    assert "the probe" in verdict["text"]


def interrupt(monkeypatch):
    from tunesmith.training.loop import _Loop

    def stop(loop):
        raise InterruptedRunError("stopped")

    monkeypatch.setattr(_Loop, "_step", stop)


def test_a_resumed_run_comes_to_the_same_verdict(tmp_path, monkeypatch):
    """The base model is gone by then: what it said of each row is kept."""
    files = {
        split: [str(write_rows(tmp_path / f"{split}.jsonl", tiny_task_rows("text-generation", n, seed=seed)))]
        for seed, (split, n) in enumerate({"train": 24, "validation": 8, "test": 40}.items())
    }

    def recipe(name):
        return Recipe.model_validate({
            "task": "text-generation",
            "model": str(model),
            "output_dir": str(tmp_path / name),
            "data": files,
            "train": {"max_steps": 3, "learning_rate": 2e-3, "per_device_train_batch_size": 8},
            "evaluate": {"bootstrap_samples": 100, "samples": 1},
            "generate": {"max_new_tokens": 4},
        })  # fmt: skip

    model = write_tiny_model(tmp_path / "model", family="llama")
    calm = pipeline.train(recipe("calm")).metrics
    with monkeypatch.context() as patch, pytest.raises(InterruptedRunError):
        interrupt(patch)
        pipeline.train(recipe("stopped"))
    resumed = pipeline.train(recipe("stopped")).metrics
    assert calm["verdict"]["against"] == "base_model"
    assert calm["verdict"]["low"] is not None
    assert resumed["verdict"] == calm["verdict"]


@pytest.mark.parametrize("method", ["full", "probe"])
def test_a_gap_is_explained_by_the_shift_that_the_check_found(tiny_recipe, tmp_path, method):
    """Test rows with a word of their own, and the label of the next row: another source, and a worse score."""
    rows = tiny_rows(260)
    others = [
        {**row, "text": f"zebra giraffe {row['text']}", "label": rows[(number + 1) % len(rows)]["label"]}
        for number, row in enumerate(rows[160:])
    ]
    test = write_rows(tmp_path / "other.csv", others)
    recipe = tiny_recipe.replace(data={"test": [str(test)]})
    if method == "probe":  # it finds its head without steps
        recipe = recipe.model_copy(update={"train": TrainRecipe(method="probe")})
    run = pipeline.train(recipe)
    found = read_json(run.data / "check.json")["findings"]
    shifts = [it for it in found if it["check"] == "shift" and it["evidence"]["of"] == "texts"]
    assert [it["evidence"]["split"] for it in shifts] == ["test"]
    assert "zebra" in shifts[0]["text"]
    gap = read_json(run.metrics_file)["validation_gap"]
    assert shifts[0]["text"] in gap["shifts"]
    assert shifts[0]["text"] in gap["text"]
