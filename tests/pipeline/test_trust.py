"""A run that promises how many of its answers are wrong, from its recipe to its predictions."""

import json
import shutil
from pathlib import Path

import pytest

import tunesmith
from tunesmith import exporting, pipeline
from tunesmith.cli.output import print_metrics
from tunesmith.errors import RecipeError
from tunesmith.inference.trust import TRUST_FILE, Abstention, Trust
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.testing.tiny import tiny_task_rows, write_rows, write_tiny_model


@pytest.fixture(scope="module")
def run(tiny_model, tiny_files, tmp_path_factory):
    """A probe, which is quick, and good enough to promise something."""
    recipe = Recipe.model_validate({
        "model": str(tiny_model),
        "output_dir": str(tmp_path_factory.mktemp("runs") / "promised"),
        "data": {split: [str(path)] for split, path in tiny_files.items()},
        "train": {"method": "probe"},
        "evaluate": {"bootstrap_samples": 200, "max_error": 0.2, "baselines": False},
    })  # fmt: skip
    return pipeline.train(recipe)


@pytest.fixture(name="command")
def _command(request):
    """The fixture `tunesmith`, whose name is that of the package here."""
    return request.getfixturevalue("tunesmith")


def with_threshold(run, tmp_path, threshold):
    """The same run, with another threshold in its config."""
    copy = Run(shutil.copytree(run.path, tmp_path / f"run-{threshold}"))
    Trust(Abstention(0.2, 0.05, threshold)).write(copy.model)
    copy.finish()
    return copy


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_threshold_stands_in_the_config_and_decides_the_predictions(run):
    config = json.loads((run.model / "config.json").read_text())
    entry = config["tunesmith_abstention"]
    assert (entry["max_error"], entry["delta"]) == (0.2, 0.05)
    lines = lines_of(run.predictions / "test.jsonl")
    found = run.metrics["abstention"]
    assert found["threshold"] == entry["threshold"]
    given = [line for line in lines if line["prediction"]["score"] >= entry["threshold"]]
    assert [line["abstained"] for line in lines] == [line not in given for line in lines]
    leaking = len(lines) - run.metrics["primary"]["n"]  # rows that are also in training do not count
    assert found["answers"] == len(lines) - leaking
    assert len(given) - leaking <= found["given"] <= len(given)
    assert found["wrong"] <= sum(not line["correct"] for line in given)
    assert found["coverage"] == pytest.approx(found["given"] / found["answers"])
    assert found["error"] == found["wrong"] / found["given"] <= found["error_high"]


def test_a_training_and_an_evaluation_print_what_came_of_the_promise(run, capsys):
    print_metrics(run.metrics)
    assert "at no more than 20.0 % errors, as promised" in capsys.readouterr().out


def test_a_prediction_says_whether_it_is_given(run, tmp_path):
    texts = [line["text"] for line in lines_of(run.predictions / "test.jsonl")[:8]]
    scores = sorted(answer["score"] for answer in tunesmith.load(run)(texts))
    middle = (scores[3] + scores[4]) / 2
    answers = tunesmith.load(with_threshold(run, tmp_path, middle))(texts)
    assert [answer["abstained"] for answer in answers] == [answer["score"] < middle for answer in answers]
    assert all(answer["abstained"] for answer in tunesmith.load(with_threshold(run, tmp_path, None))(texts))
    assert not any(
        answer["abstained"] for answer in tunesmith.load(with_threshold(run, tmp_path, 0.0))(texts)
    )


def test_the_command_says_how_many_answers_are_not_given(run, tmp_path, command):
    silent = with_threshold(run, tmp_path, None)
    done = command("predict", silent.path, "the cat is red", "a dog")
    assert [json.loads(line)["abstained"] for line in done.out.splitlines()] == [True, True]
    assert "the model abstains from 2 of 2 answers" in done.err
    for name in ("answers.csv", "answers.parquet"):
        assert command("predict", silent.path, "a cat", "--output", tmp_path / name).code == 0
    assert "abstained" in (tmp_path / "answers.csv").read_text().splitlines()[0]


def test_without_a_promise_nothing_is_said(finished_run):
    assert "abstained" not in tunesmith.load(finished_run)("a cat")
    assert "abstained" not in lines_of(finished_run.predictions / "test.jsonl")[0]
    found = finished_run.metrics["abstention"]
    assert "max_error" not in found
    assert [level["max_error"] for level in found["levels"]] == [0.01, 0.02, 0.05, 0.1]
    assert found["curve"][-1]["error"] == pytest.approx(1 - finished_run.metrics["primary"]["value"])


def test_nothing_is_fitted_on_validation_rows_that_were_trained_on(run, tmp_path):
    requested = Recipe.model_validate(run.manifest()["requested"])
    trained = Path(requested.data.train[0]).read_text().splitlines()[1:41]
    file = tmp_path / "validation.csv"
    file.write_text("\n".join([Path(requested.data.validation[0]).read_text().strip(), *trained]) + "\n")
    recipe = requested.model_copy(update={"output_dir": str(tmp_path / "leaking")})
    leaking = pipeline.train(recipe.replace(data={"validation": [str(file)]}))
    assert leaking.manifest()["data"]["rows"]["validation"] == 80
    fitted_on = [it.manifest()["calibration"]["n"] for it in (run, leaking)]
    assert fitted_on[0] == fitted_on[1] <= 40
    assert [len(Trust.of_model(it.model).strangeness) for it in (run, leaking)] == fitted_on
    assert leaking.metrics["abstention"]["tested"]["answers"] == fitted_on[0]


def test_a_training_that_starts_from_a_run_does_not_inherit_its_promise(run, tmp_path):
    first = Recipe.model_validate(run.manifest()["requested"])
    recipe = first.model_copy(update={"model": str(run.path), "output_dir": str(tmp_path / "next")})
    later = pipeline.train(recipe.replace(evaluate={"max_error": None}))
    assert "tunesmith_abstention" not in json.loads((later.model / "config.json").read_text())
    assert "abstained" not in tunesmith.load(later)("a text")


def test_sets_hold_the_answer_and_need_enough_rows(run, command):
    answer = tunesmith.load(run)("the cat is red", coverage=0.9)
    assert answer["set"][0]["label"] == answer["label"]
    assert run.metrics["prediction_sets"]["levels"][0]["coverage"] == 0.9
    with pytest.raises(RecipeError, match="need at least 99 validation rows"):
        tunesmith.load(run)("a cat", coverage=0.99)
    done = command("predict", run.path, "a cat", "--set", "0.9")
    assert "set" in json.loads(done.out)
    refused = command("predict", run.path, "a cat", "--set", "95")
    assert refused.code == 2
    assert "between 0 and 1" in refused.err


def test_out_of_scope_needs_no_second_pass(run, monkeypatch):
    predictor = tunesmith.load(run)
    passes = []
    forward = predictor.model.forward
    monkeypatch.setattr(predictor.model, "forward", lambda *a, **k: passes.append(1) or forward(*a, **k))
    answer = predictor("the cat is red")
    assert len(passes) == 1
    assert set(answer["out_of_scope"]) == {"score", "is_out"}
    assert answer["out_of_scope"]["is_out"] == (answer["out_of_scope"]["score"] > 1)


def test_an_evaluation_measures_the_promise(run, tiny_files):
    metrics = pipeline.evaluate(run.path, [str(tiny_files["test"])])
    for key in ("threshold", "given", "wrong", "error"):
        assert metrics["abstention"][key] == run.metrics["abstention"][key]
    assert metrics["out_of_scope"]["out"] == run.metrics["out_of_scope"]["out"]
    assert metrics["prediction_sets"] == run.metrics["prediction_sets"]


@pytest.mark.slow
def test_exports_abstain_as_the_run_does(run, tmp_path):
    pytest.importorskip("onnxruntime")
    texts = [line["text"] for line in lines_of(run.predictions / "test.jsonl")[:20]]
    expected = tunesmith.load(run)(texts, coverage=0.9)
    for name in ("merged", "onnx"):
        exporting.export(run.path, name, output_dir=tmp_path / name)
        found = tunesmith.load(tmp_path / name)(texts, coverage=0.9)
        assert [one["abstained"] for one in found] == [one["abstained"] for one in expected]
        assert [len(one["set"]) for one in found] == [len(one["set"]) for one in expected]
        assert ("out_of_scope" in found[0]) == (name == "merged")


def test_the_report_shows_it(run):
    page = run.report_file.read_text()
    assert "as promised" in page
    for name in ("abstention", "prediction-sets", "out-of-scope"):
        assert f'id="{name}"' in page


def test_a_task_without_right_answers_has_no_promise(tmp_path, tiny_recipe):
    changed = {**tiny_recipe.model_dump(), "task": "text-regression", "evaluate": {"max_error": 0.02}}
    with pytest.raises(RecipeError, match=r"evaluate\.max_error has no effect on `text-regression`"):
        pipeline.train(Recipe.model_validate(changed))


@pytest.mark.parametrize("task", ["token-classification", "multi-label-classification", "text-regression"])
def test_other_tasks(task, tmp_path):
    rows = tiny_task_rows(task, 150, seed=1)
    files = {
        name: str(write_rows(tmp_path / f"{name}.jsonl", some))
        for name, some in (("train", rows[:60]), ("validation", rows[60:110]), ("test", rows[110:]))
    }
    promise = {} if task == "text-regression" else {"max_error": 0.5}
    recipe = Recipe.model_validate({
        "task": task, "model": str(write_tiny_model(tmp_path / "model")), "output_dir": str(tmp_path / "run"),
        "data": {name: [path] for name, path in files.items()}, "train": {"method": "probe"},
        "evaluate": {"bootstrap_samples": 200, "baselines": False, **promise},
    })  # fmt: skip
    run = pipeline.train(recipe)
    question = {k: v for k, v in rows[-1].items() if k in ("text", "tokens")}
    if task == "text-regression":
        answer = tunesmith.load(run)(question, coverage=0.9)
        assert answer["interval"]["low"] < answer["score"] < answer["interval"]["high"]
        return
    found = run.metrics["abstention"]
    line = lines_of(run.predictions / "test.jsonl")[0]
    if task == "multi-label-classification":
        assert isinstance(tunesmith.load(run)(question)["abstained"], bool)
        assert isinstance(line["abstained"], bool)
        return
    copy = with_threshold(run, tmp_path, None)
    answer = tunesmith.load(copy)(question)
    assert answer["entities"] == []
    assert [one["word"] for one in answer["abstained"]] == [
        one["word"]
        for one in tunesmith.load(run)(question)["entities"] + tunesmith.load(run)(question)["abstained"]
    ]
    assert found["what"] == "entities"
    assert found["one_a_group"]
    with pytest.raises(RecipeError, match="has no prediction sets"):
        tunesmith.load(run)(question, coverage=0.9)


def test_a_damaged_file_is_named(run, tmp_path):
    copy = Run(shutil.copytree(run.path, tmp_path / "damaged"))
    (copy.model / TRUST_FILE).write_bytes(b"nothing")
    with pytest.raises(tunesmith.RunError, match="not as it was written"):
        tunesmith.load(copy)
    copy.finish()
    with pytest.raises(tunesmith.ModelError, match=r"trust\.safetensors"):
        tunesmith.load(copy)
