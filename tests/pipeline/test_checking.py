"""The checks as a whole: `check`, and before a training."""

import json

import pytest

from tunesmith import pipeline
from tunesmith.checks import CHECKS, Check
from tunesmith.errors import CheckBlockedError
from tunesmith.recipe import Recipe
from tunesmith.tasks import TASKS
from tunesmith.testing.listeners import Recorder
from tunesmith.testing.tiny import tiny_rows, tiny_task_rows, write_rows


@pytest.fixture
def leaking(tiny_recipe, tmp_path):
    """From `data.check` to a recipe, half of whose test rows are training rows."""
    rows = tiny_rows(200)
    files = {
        "train": [str(write_rows(tmp_path / "train.csv", rows[:120]))],
        "validation": [str(write_rows(tmp_path / "validation.csv", rows[120:150]))],
        "test": [str(write_rows(tmp_path / "test.csv", [*rows[:50], *rows[150:]]))],
    }

    def recipe(check):
        return Recipe.model_validate({
            **tiny_recipe.model_dump(mode="json", exclude_unset=True),
            "data": {**files, "check": check},
            "train": {"method": "probe"},
            "evaluate": {"bootstrap_samples": 100},
        })  # fmt: skip

    return recipe


def test_findings_come_worst_first_with_the_places_of_their_rows(leaking):
    report = pipeline.check(leaking("warn"), with_model=False)
    found = report.to_json()
    assert report.is_blocking
    assert found["findings"][0]["check"] == "leakage"
    assert found["findings"][0]["severity"] == "block"
    severities = [it["severity"] for it in found["findings"]]
    assert severities == sorted(severities, key=["block", "warn", "note"].index)
    row = found["findings"][0]["rows"][0]
    assert set(row) == {"file", "line", "split", "score", "note"}
    assert row["file"].endswith("test.csv")
    assert row["line"] >= 2
    json.dumps(found, allow_nan=False)


def test_the_page_shows_findings_and_hides_personal_data(leaking, tmp_path):
    rows = [{**row, "text": f"{row['text']} jo@example.org"} for row in tiny_rows(30)]
    recipe = leaking("warn").replace(data={"train": [str(write_rows(tmp_path / "mine.csv", rows))]})
    page = pipeline.check(recipe, with_model=False).page("mine")
    assert "Personal data" in page
    assert "[EMAIL]" in page
    assert "jo@example.org" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_before_a_training_findings_are_said_and_written(leaking):
    recorder = Recorder()
    run = pipeline.train(leaking("warn"), listeners=[recorder])
    said = [text for text in recorder.said if text.startswith("leakage: ")]
    assert len(said) >= 1
    assert not any("have the same text as a training row" in text for text in recorder.said), "said once"
    found = json.loads((run.data / "check.json").read_text())
    assert found["findings"][0]["check"] == "leakage"
    assert "Check of the data" in run.report_file.read_text()
    assert (run.data / "check.html").is_file()
    leaked = found["findings"][0]["evidence"]["leaked"]
    seen = run.metrics["seen_in_training"]
    assert seen["rows"] == leaked >= 50, "the check and the scores find the same rows"
    assert run.metrics["primary"]["n"] == seen["of"] - leaked


def test_a_blocking_finding_stops_before_anything_is_written(leaking, tmp_path):
    with pytest.raises(CheckBlockedError, match="test rows are also among the train rows") as error:
        pipeline.train(leaking("block"))
    assert error.value.exit_code == 3
    assert not (tmp_path / "run" / "manifest.json").exists()


def test_without_the_check_the_old_notice_is_given(leaking):
    recorder = Recorder()
    run = pipeline.train(leaking("off"), listeners=[recorder])
    assert any("have the same text as a training row" in text for text in recorder.said)
    assert not (run.data / "check.json").exists()
    assert run.metrics["seen_in_training"]["rows"] >= 50, "rows that leak are left out all the same"


def test_another_value_of_check_than_the_default_is_another_request_but_an_old_run_is_the_same(leaking):
    run = pipeline.train(leaking("off"))
    again = Recorder()
    pipeline.train(leaking("off"), listeners=[again])
    assert any("is finished; nothing to do" in text for text in again.said)
    requested = run.manifest()["requested"]
    run.update_manifest(
        requested={**requested, "data": {k: v for k, v in requested["data"].items() if k != "check"}}
    )
    keys = [key for key in run.manifest()["requested_keys"] if key != "data.check"]
    run.update_manifest(requested_keys=keys)
    unset = leaking("off").model_dump(mode="json", exclude_unset=True)
    del unset["data"]["check"]
    pipeline.train(Recipe.model_validate(unset))


@pytest.mark.parametrize("task", [name for name in TASKS.built_in() if name != "text-classification"])
def test_every_task_is_checked(task, tmp_path):
    rows = tiny_task_rows(task, 24, seed=0)
    data = {"train": [str(write_rows(tmp_path / "train.jsonl", [*rows[:16], *rows[:4]]))],
            "validation": [str(write_rows(tmp_path / "validation.jsonl", rows[14:]))]}  # fmt: skip
    report = pipeline.check(Recipe.model_validate({"task": task, "data": data}), with_model=False)
    checks = {it.check for it in report.findings}
    assert {"duplicates", "leakage"} <= checks, checks
    assert "<h2>" in report.page(task)
    assert all(len(it.rows) == len({(row.split, row.row) for row in it.rows}) for it in report.findings)


def test_a_check_with_the_model_knows_what_is_cut(tiny_recipe):
    recipe = tiny_recipe.replace(data={"max_length": 4})
    found = pipeline.check(recipe)
    [length] = [it for it in found.findings if it.check == "length" and it.evidence["split"] == "train"]
    assert length.evidence["rows_cut"] > 0


def test_features_are_taken_once_for_all_checks_and_the_probe(tiny_recipe, monkeypatch):
    from tunesmith.pipeline import probe

    taken = []
    original = probe.take_features

    def counting(*args, **how):
        taken.append(1)
        return original(*args, **how)

    monkeypatch.setattr(probe, "take_features", counting)
    shapes = []

    def find(data):
        for split, examples in data.splits.items():
            features, encoded = data.features(split)
            shapes.append((split, len(features), encoded.n_rows, len(examples)))
        return []

    one, two = (Check(name, find, needs_features=True) for name in ("one", "two"))
    with CHECKS.replaced("one", one), CHECKS.replaced("two", two):
        pipeline.check(tiny_recipe)
        assert len(taken) == 3
        pipeline.train(tiny_recipe.replace(train={"max_steps": 1, "augment": {"typos": 0.1}}))
    assert len(taken) == 6
    assert all(n == n_encoded == n_rows for _, n, n_encoded, n_rows in shapes), "without noisy copies"
    assert len(shapes) >= 12
