"""Every verb once, as a person would call it."""

import csv
import json

import pytest

from tunesmith.testing.tiny import tiny_rows, write_rows


def test_train_with_options_and_overrides(tunesmith, tiny_model, tiny_files, tmp_path):
    arguments = [
        "train", "--task", "text-classification", "--model", tiny_model, "--data", tiny_files["train"],
        "--validation", "0.2", "--test", tiny_files["test"], "--column", "text=text",
        "--column", "label=label",
        "--output-dir", tmp_path / "run", "train.method=probe", "evaluate.bootstrap_samples=100",
        "val_set_size=0.2",
    ]  # fmt: skip
    done = tunesmith(*arguments)
    assert done.code == 0, done.err
    assert "accuracy" in done.out
    assert "tfidf_logistic_regression" in done.out
    assert str(tmp_path / "run" / "report.html") in done.out
    assert "rows: 128 train, 32 validation, 60 test" in done.err
    again = tunesmith(*arguments)
    assert again.code == 0
    assert "is finished; nothing to do" in again.err


def test_train_with_a_recipe_and_json(tunesmith, tiny_model, tiny_files, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model: {tiny_model}\noutput_dir: {tmp_path / 'run'}\n"
        f"data: {{train: {tiny_files['train']}, validation: {tiny_files['validation']}}}\n"
        "train: {max_steps: 3}\nevaluate: {bootstrap_samples: 100}\n"
    )
    done = tunesmith("train", recipe, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["train"]["steps"] == 3
    assert found["primary"]["split"] == "validation"
    assert len(done.out.splitlines()) == 1


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_predict_a_file(tunesmith, finished_run, tmp_path, ending):
    data = write_rows(tmp_path / "in.csv", [{"words": row["text"]} for row in tiny_rows(20, seed=8)])
    out = tmp_path / f"out.{ending}"
    done = tunesmith("predict", finished_run.path, "--data", data, "--column", "text=words", "--output", out)
    assert done.code == 0, done.err
    assert "20 predictions" in done.out
    lines = (
        [json.loads(line) for line in out.read_text().splitlines()]
        if ending == "jsonl"
        else list(csv.DictReader(out.read_text().splitlines()))
    )
    assert len(lines) == 20
    assert lines[0]["row"] == "in.csv:2"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv", f"out.{ending}"]


def test_predict_texts_and_standard_input(tunesmith, finished_run):
    texts = tunesmith("predict", finished_run.path, "the cat is red", "a dog")
    piped = tunesmith("predict", finished_run.path, stdin="the cat is red\na dog\n")
    first = [json.loads(done.out.splitlines()[0]) for done in (texts, piped)]
    assert first[0]["label"] == first[1]["label"]
    assert [json.loads(line)["row"] for line in texts.out.splitlines()] == ["argument:1", "argument:2"]
    empty = tunesmith("predict", finished_run.path, "a cat", "")
    assert empty.code == 2
    assert "argument, line 2: the row cannot be used: text is empty" in empty.err
    one = json.loads(tunesmith("predict", finished_run.path, "a cat", "--json", "--top-k", "2").out)
    assert len(one["predictions"][0]["top"]) == 2


def test_predict_stops_at_a_bad_row_and_leaves_no_half_file(tunesmith, finished_run, tmp_path):
    data = tmp_path / "in.csv"
    data.write_text('text\na cat\n""\n')
    out = tmp_path / "out.jsonl"
    done = tunesmith("predict", finished_run.path, "--data", data, "--output", out)
    assert done.code == 2
    assert "in.csv, line 3" in done.err
    assert not out.exists()
    done = tunesmith("predict", finished_run.path, "--data", data, "--output", out, "--bad-rows", "keep")
    assert done.code == 0
    assert json.loads(out.read_text().splitlines()[1])["error"] == "text is empty."


def test_evaluate(tunesmith, finished_run, tiny_files, tmp_path):
    out = tmp_path / "scores.json"
    done = tunesmith("evaluate", finished_run.path, "--data", tiny_files["test"], "--output", out)
    assert done.code == 0, done.err
    assert "f1_macro" in done.out
    assert json.loads(out.read_text())["splits"]["test"] == finished_run.metrics["splits"]["test"]
    as_json = tunesmith("evaluate", finished_run.path, "--data", tiny_files["test"], "--json")
    found = json.loads(as_json.out)
    assert found["seen_in_training"]["of"] == 60
    assert found["primary"]["n"] == found["errors"]["of"] == 60 - found["seen_in_training"]["rows"]
    again = tunesmith("evaluate", finished_run.path, "--data", tiny_files["test"], "--output", out)
    assert again.code == 2
    assert "--force" in again.err
    other = tunesmith("evaluate", finished_run.path, "--data", tiny_files["test"], "--output", "scores.txt")
    assert other.code == 2
    assert ".html or .json" in other.err


def test_evaluate_writes_a_report(tunesmith, finished_run, tiny_files, tmp_path):
    out = tmp_path / "new.html"
    done = tunesmith("evaluate", finished_run.path, "--data", tiny_files["test"], "--output", out)
    assert done.code == 0, done.err
    page = out.read_text()
    assert "finished on test.csv" in page
    assert "Scores by label" in page
    assert "The nearest training rows" in page, "the run keeps vectors of its training rows"
    assert 'id="learning"' not in page, "that is what a training shows"


def test_init_writes_a_recipe_that_trains(tunesmith, tiny_model, tiny_files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = tunesmith("init", tiny_files["train"])
    assert done.code == 0, done.err
    assert "text = column `text`" in done.out
    assert tunesmith("init", tiny_files["train"]).code == 2
    done = tunesmith("train", "recipe.yaml", "train.method=probe", f"model={tiny_model}", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["run"] == "runs/train"


def test_list_and_env(tunesmith):
    assert "text-classification" in tunesmith("list").out
    assert json.loads(tunesmith("list", "--json").out)["tasks"]["text-classification"]
    assert "torch" in tunesmith("env").out
    facts = json.loads(tunesmith("env", "--json").out)
    assert facts["versions"]["torch"].startswith("2.")
    assert facts["machine"]["cores"] >= 1


def test_version_and_help(tunesmith):
    import tunesmith as package

    assert tunesmith("--version").out.strip() == package.__version__
    for verb in ("train", "predict", "evaluate", "export", "init", "demo", "list", "env", "help", "version"):
        assert tunesmith(verb, "--help").code == 0


def test_export_and_predict_from_it(tunesmith, finished_run, tmp_path):
    target = tmp_path / "merged"
    done = tunesmith("export", finished_run.path, "--to", "merged", "--output-dir", target)
    assert done.code == 0, done.err
    assert "100.00% of 40 answers are the run's" in done.out
    assert str(target) in done.out
    ours, theirs = (
        json.loads(tunesmith("predict", location, "the cat is red").out)
        for location in (finished_run.path, target)
    )
    assert theirs["label"] == ours["label"]
    again = tunesmith("export", finished_run.path, "--to", "merged", "--output-dir", target)
    assert again.code == 2
    assert "--force" in again.err


def test_export_as_json_with_what_may_be_lost(tunesmith, finished_run, tmp_path):
    done = tunesmith(
        "export", finished_run.path, "--to", "merged", "--output-dir", tmp_path / "m", "--json",
        "export.max_metric_drop=0.5",
    )  # fmt: skip
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert facts["path"] == str(tmp_path / "m")
    assert facts["check"]["allowed"]["max_metric_drop"] == 0.5
    wrong = tunesmith("export", finished_run.path, "--to", "merged", "train.seed=1")
    assert wrong.code == 2
