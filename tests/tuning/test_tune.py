"""A search from the request to its report; stopped and killed ones; what is refused."""

import json
import math
import os
import re
import time
from pathlib import Path

import pytest
import yaml

import tunesmith
from tunesmith import pipeline, tuning
from tunesmith.errors import InterruptedRunError, RecipeError, RunError
from tunesmith.events import Note
from tunesmith.recipe import Recipe
from tunesmith.recipe.loader import Loader
from tunesmith.run import read_json
from tunesmith.tasks import TASKS
from tunesmith.testing.forked import start
from tunesmith.testing.tiny import tiny_task_rows, write_rows, write_tiny_model
from tunesmith.tuning import Options, SearchFolder
from tunesmith.tuning.space import read_space

pytestmark = pytest.mark.usefixtures("lean")


@pytest.fixture(scope="module")
def finished(search_recipe, tmp_path_factory):
    """A finished search, and what was said meanwhile."""
    said = []
    recipe = search_recipe(tmp_path_factory.mktemp("finished") / "tune", has_test=True)
    folder = tuning.tune(recipe, listeners=[lambda event: said.append(event)])
    return folder, recipe, [event.text for event in said if isinstance(event, Note)]


@pytest.fixture(scope="module")
def result(finished):
    return read_json(finished[0].result_file)


def trials_of(folder, *stages):
    return [it for it in read_json(SearchFolder(folder).result_file)["trials"] if it["stage"] in stages]


def values_and_scores(folder):
    trials = trials_of(folder, "default", "coarse", "fine", "finalists")
    return [
        (it["stage"], it["number"], it["values"], it.get("seed"), it["value"], it["state"]) for it in trials
    ]


def test_every_trial_is_counted_and_the_default_recipe_is_the_first(result):
    stages = [it["stage"] for it in result["trials"]]
    assert stages.count("default") == 1
    assert sum(stage != "finalists" for stage in stages) == 8
    assert result["trials"][0] == {
        **result["trials"][0],
        "stage": "default",
        "values": {},
        "state": "complete",
    }
    assert sum(result["counts"].values()) == len(stages)


def test_the_best_of_a_part_is_trained_on_all_rows(result):
    coarse = [it for it in result["trials"] if it["stage"] == "coarse" and it["state"] == "complete"]
    best = max(coarse[1:] or coarse, key=lambda it: it["value"])
    fine = [it["values"] for it in result["trials"] if it["stage"] == "fine"]
    assert best["values"] in fine


def test_the_winner_is_trained_again_to_the_same_score(finished, result):
    """Deterministic: the final training is the trial again, and its saved model has the trial's score."""
    folder, _, _ = finished
    winner = next(it for it in result["finalists"] if it["name"] == result["choice"]["winner"])
    history = folder.best.metrics["train"]
    best = next(it for it in history["history"] if it["step"] == history["best_step"])
    assert best["accuracy"] == winner["by_seed"]["42"]


def test_the_reloaded_model_has_the_scores_of_the_run(finished, search_files):
    folder, _, _ = finished
    again = tunesmith.evaluate(folder.best, search_files["test"], progress=False)
    assert again["primary"]["value"] == folder.best.metrics["primary"]["value"]


def test_the_best_recipe_trains_by_itself(finished, tmp_path):
    folder, _, _ = finished
    tree = yaml.safe_load(folder.best_recipe.read_text())
    assert "tune" not in tree
    run = tunesmith.train(str(folder.best_recipe), output_dir=tmp_path / "again", progress=False)
    assert run.metrics["primary"] == folder.best.metrics["primary"]


def test_all_trials_and_the_best_recipe_compute_in_one_precision(finished):
    """`auto` times it: in another process, or on another machine, it could become something else."""
    folder, _, _ = finished
    recipes = [*folder.trials.glob("*/recipe.yaml"), folder.best_recipe]
    assert {yaml.safe_load(path.read_text())["train"]["bf16"] for path in recipes} in ({True}, {False})


def test_the_test_rows_are_scored_in_the_final_training_only(finished):
    folder, _, _ = finished
    assert not list(folder.trials.rglob("*predictions*"))
    assert folder.best.metrics["primary"]["split"] == "test"


def test_a_trial_leaves_little(finished):
    folder, _, _ = finished
    for trial in folder.trials.iterdir():
        names = {file.name for file in trial.iterdir()}
        assert names <= {"recipe.yaml", "trial.json", "statistics.npz"}
        assert sum(file.stat().st_size for file in trial.iterdir()) < 20_000


def test_trials_are_told_with_their_score_and_the_best(finished):
    _, _, notes = finished
    said = [note for note in notes if note.startswith("coarse")]
    assert len(said) == 5
    assert all(re.match(r"coarse \d, accuracy 0\.\d{4}, .+, best [01]\.\d{4}", note) for note in said)


def test_the_report_opens_alone_and_shows_every_trial(finished, result):
    page = finished[0].report_file.read_text()
    assert not re.search(r"(src|href)=.http", page)
    for trial in result["trials"]:
        assert f"{trial['stage']} {trial['number']}" in page
    for sentence in result["text"]:
        assert sentence.split(":")[0].strip("`")[1:20] in page


def test_a_finished_search_is_not_run_again(finished):
    folder, recipe, _ = finished
    before = folder.result_file.stat().st_mtime_ns
    tuning.tune(recipe)
    assert folder.result_file.stat().st_mtime_ns == before


def test_another_search_in_the_folder_is_refused(finished, search_recipe):
    folder, _, _ = finished
    with pytest.raises(RunError, match=r"belongs to another search; it differs in `tune.trials`\."):
        tuning.tune(search_recipe(folder.path, trials=9, has_test=True))
    with pytest.raises(RunError, match=r"it differs in .*`train.num_train_epochs`"):
        tuning.tune(search_recipe(folder.path, train={"num_train_epochs": 3}))


def test_force_replaces_a_search_and_nothing_else(search_recipe, tmp_path):
    folder = tmp_path / "tune"
    tuning.tune(search_recipe(folder, trials=1))
    (folder / "notes.txt").write_text("mine")
    tuning.tune(search_recipe(folder, trials=2, seeds=1), Options(force=True))
    assert len(trials_of(folder, "default", "coarse", "fine")) == 2
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_folder_with_something_else_is_refused(search_recipe, tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(RunError, match="holds no search"):
        tuning.tune(search_recipe(tmp_path))


@pytest.mark.parametrize("after", [3, 60])
def test_a_search_that_was_stopped_ends_like_one_that_was_not(after, finished, search_recipe, tmp_path):
    folder, _, _ = finished
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > after

    recipe = search_recipe(tmp_path / "tune", has_test=True)
    with pytest.raises(InterruptedRunError):
        tuning.tune(recipe, Options(should_stop=stop))
    tuning.tune(recipe)
    assert values_and_scores(tmp_path / "tune") == values_and_scores(folder.path)
    one, other = (
        read_json(SearchFolder(it).result_file)["choice"] for it in (folder.path, tmp_path / "tune")
    )
    assert one["winner"] == other["winner"]


def search_alone(tree, workers):
    """A search in a process of its own."""
    tuning.tune(Recipe.model_validate_json(tree), Options(workers=workers))


def begin(recipe, workers):
    return start(search_alone, recipe.model_dump_json(exclude_unset=True), workers)


def kill_after(process, condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert process.is_alive()
        assert time.monotonic() < until
        time.sleep(0.02)
    process.kill()
    process.join()


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two workers need two cores")
def test_after_a_kill_with_two_workers_no_trial_is_lost_and_none_is_run_twice(search_recipe, tmp_path):
    folder = tmp_path / "tune"
    recipe = search_recipe(folder, trials=8, seeds=1, train={"num_train_epochs": 4})
    kill_after(begin(recipe, 2), lambda: len(list(folder.glob("trials/coarse-*/trial.json"))) >= 2)
    ended = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/trial.json")}
    again = begin(recipe, 2)
    again.join(120)
    assert again.exitcode == 0
    known = trials_of(folder, "default", "coarse", "fine")
    assert len(known) == 8
    assert len({(it["stage"], it["number"]) for it in known}) == 8
    assert all(path.stat().st_mtime_ns == moment for path, moment in ended.items()), "run twice"
    assert not list(folder.glob("worker-*.log"))


@pytest.mark.slow
def test_after_a_kill_one_worker_ends_like_without(finished, search_recipe, tmp_path):
    folder = tmp_path / "tune"
    recipe = search_recipe(folder, has_test=True)
    kill_after(begin(recipe, 1), lambda: (folder / "trials" / "coarse-0002").is_dir())
    tuning.tune(recipe)
    assert values_and_scores(folder) == values_and_scores(finished[0].path)


@pytest.mark.slow
def test_a_bad_space_still_ends_with_a_good_run(search_recipe, tmp_path):
    bad = {"train.learning_rate": {"low": 1e-8, "high": 1.0, "log": True}}
    folder = tuning.tune(search_recipe(tmp_path / "tune", space=bad, trials=9, seeds=1))
    found = read_json(folder.result_file)
    default = found["trials"][0]["value"]
    assert found["best"]["validation"] >= default - 0.05
    assert found["counts"].get("pruned", 0) + found["counts"].get("diverged", 0) > 0


def test_a_value_that_the_model_cannot_have_is_counted_and_the_search_goes_on(search_recipe, tmp_path):
    space = {"train.freeze_layers": [0, 99]}
    folder = tuning.tune(search_recipe(tmp_path / "tune", space=space, trials=4, seeds=1))
    found = read_json(folder.result_file)
    refused = [it for it in found["trials"] if it["state"] == "refused"]
    assert refused
    assert all("must be at most" in it["reason"] for it in refused)


def test_a_default_recipe_that_cannot_be_trained_ends_the_search(search_recipe, tmp_path):
    recipe = search_recipe(tmp_path / "tune", train={"freeze_layers": 99})
    with pytest.raises(RecipeError, match=r"the recipe that the search begins from cannot be trained"):
        tuning.tune(recipe)


def test_a_search_of_one_trial_says_that_nothing_was_compared(search_recipe, tmp_path):
    folder = tuning.tune(search_recipe(tmp_path / "tune", trials=1))
    assert "no other recipe came to its end" in read_json(folder.result_file)["text"][1]


def test_a_request_that_was_wrong_can_be_corrected(search_recipe, tmp_path):
    """What fails before the first trial has ended holds no folder."""
    with pytest.raises(RecipeError, match="nothing to search"):
        tuning.tune(search_recipe(tmp_path / "tune", space={"train.learning_rate": [1e-3]}))
    assert not (tmp_path / "tune").exists()
    with pytest.raises(RecipeError, match="cannot be trained"):
        tuning.tune(search_recipe(tmp_path / "tune", train={"freeze_layers": 99}))
    assert len(trials_of(tuning.tune(search_recipe(tmp_path / "tune", trials=1)).path, "default")) == 1


def test_a_time_that_is_too_short_is_an_error_that_says_how_long_a_training_takes(search_recipe, tmp_path):
    with pytest.raises(RecipeError, match=r"a training takes \d+ s, and `tune.time` allows"):
        tuning.tune(search_recipe(tmp_path / "tune", trials=None, time="0.1s"))


@pytest.mark.slow
def test_a_time_ends_a_search(search_recipe, tmp_path):
    """The time is that of some trials, however fast the machine is now."""
    began = time.monotonic()
    tuning.tune(search_recipe(tmp_path / "one", trials=1, seeds=1))
    budget = max(math.ceil(time.monotonic() - began) * 2, 4)
    folder = tuning.tune(search_recipe(tmp_path / "tune", trials=None, time=f"{budget}s", seeds=1))
    found = read_json(folder.result_file)
    assert len(found["trials"]) > 1
    assert found["seconds"] < 5 * budget


def test_a_probe_without_a_space_is_refused(search_recipe, tmp_path):
    recipe = search_recipe(tmp_path / "tune", space={})
    tree = recipe.model_dump(mode="json", exclude_unset=True)
    tree["train"] = {"method": "probe", "pooling": "first"}
    with pytest.raises(RecipeError, match="the default space is empty"):
        tuning.tune(type(recipe).model_validate(tree))


def test_more_workers_than_cores_are_refused(search_recipe, tmp_path):
    with pytest.raises(RecipeError, match="must be between 1 and"):
        tuning.tune(search_recipe(tmp_path / "tune"), Options(workers=10_000))
    assert not (tmp_path / "tune").exists()


def test_rows_in_memory_are_searched_by_one_process(tiny_model, tmp_path):
    from tunesmith.testing.tiny import tiny_rows

    rows = tiny_rows(90)
    how = {
        "model": tiny_model, "trials": 2, "space": {"train.learning_rate": [1e-3, 1e-2]}, "progress": False,
        "overrides": {"train.num_train_epochs": 1, "data.check": "off", "tune.seeds": 1},
    }  # fmt: skip
    if len(os.sched_getaffinity(0)) > 1:
        with pytest.raises(RecipeError, match="rows in memory are only in this process"):
            tunesmith.tune(rows, output_dir=tmp_path / "two", workers=2, **how)
    found = tunesmith.tune(rows, output_dir=tmp_path / "one", **how)
    assert found.best.predict("a red thing")["label"] in ("animal", "colour")
    assert [trial["stage"] for trial in found.trials] == ["default", "fine"]
    assert found.trials[1]["train.learning_rate"] in (1e-3, 1e-2)
    assert "trials" in repr(found)


def test_the_command_prints_the_result(search_recipe, tmp_path, tunesmith):
    recipe = search_recipe(tmp_path / "run", trials=2, seeds=1)
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe.model_dump(mode="json", exclude_unset=True), sort_keys=False))
    done = tunesmith("tune", file, "--json")
    assert done.code == 0
    assert json.loads(done.out)["search"] == str(tmp_path / "run-tune")
    again = tunesmith("tune", file)
    assert "nothing to do" in again.err
    assert "best.yaml" in again.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--trials", "0"], "tune.trials must be"),
        (["--time", "0m"], "above zero"),
        (["--workers", "0"], "must be between 1 and"),
        (["--storage", "sqlite:///x.db"], "must be `postgresql://"),
        (
            ["--storage", "postgresql://u:${NOT_SET_9}@h/d"],
            "environment variable NOT_SET_9, which is not set",
        ),
        (["tune.space={lr: {low: 1, high: 2}}"], "at most 1"),
        (["data.validation=empty.csv"], "empty.csv"),
    ],
)
def test_a_wrong_request_ends_with_code_2(arguments, said, search_recipe, tmp_path, tunesmith, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.csv").write_text("text,label\n")
    recipe = search_recipe(tmp_path / "run")
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe.model_dump(mode="json", exclude_unset=True), sort_keys=False))
    done = tunesmith("tune", file, *arguments)
    assert done.code == 2
    assert said in done.err
    assert done.out == ""


def test_train_takes_the_recipe_of_a_search(search_recipe, tmp_path):
    """`tune:` changes no run: with it and without it, the recipe is the same."""
    recipe = search_recipe(tmp_path / "run")
    pipeline.train(recipe)
    assert pipeline.train(recipe.model_copy(update={"tune": type(recipe.tune)()})).is_finished


@pytest.mark.parametrize(("name", "family"), [("preference", "llama"), ("translation", "bart")])
def test_tasks_whose_trials_are_compared_by_the_loss(name, family, tmp_path):
    """A task with a reference, and one that writes texts: nothing is generated in a trial."""
    rows = tiny_task_rows(name, 60)
    parts = {"train": rows[:30], "validation": rows[30:45], "test": rows[45:]}
    samples = {"samples": 1} if family == "llama" else {}
    recipe = Recipe.model_validate({
        "task": name,
        "model": str(write_tiny_model(tmp_path / "model", family=family)),
        "output_dir": str(tmp_path / "tune"),
        "data": {split: [str(write_rows(tmp_path / f"{split}.jsonl", part))] for split, part in parts.items()},
        "train": {"num_train_epochs": 1},
        "evaluate": {"baselines": False, "bootstrap_samples": 100, **samples},
        "tune": {"trials": 2, "finalists": 1, "seeds": 1},
    })  # fmt: skip
    folder = tuning.tune(recipe)
    found = read_json(folder.result_file)
    assert found["metric"] == "loss"
    assert found["counts"] == {"complete": 2}
    history = folder.best.metrics["train"]["history"]
    assert found["best"]["validation"] == min(it["loss"] for it in history)


def test_a_trial_with_frozen_layers_is_the_training_of_its_recipe(tmp_path):
    """In bfloat16, what a probe reads of cached layers is rounded; without a cache, it is not."""
    rows = tiny_task_rows("text-regression", 30)
    parts = {"train": rows[:20], "validation": rows[20:]}
    recipe = Recipe.model_validate({
        "task": "text-regression",
        "model": str(write_tiny_model(tmp_path / "model")),
        "output_dir": str(tmp_path / "tune"),
        "data": {
            "check": "off",
            **{split: [str(write_rows(tmp_path / f"{split}.jsonl", part))] for split, part in parts.items()},
        },
        "train": {"num_train_epochs": 2, "bf16": True},
        "evaluate": {"baselines": False, "bootstrap_samples": 100},
        "tune": {"trials": 2, "finalists": 1, "seeds": 1, "space": {"train.freeze_layers": [1, 2]}},
    })  # fmt: skip
    folder = tuning.tune(recipe)
    trial = trials_of(folder.path, "fine")[0]
    assert trial["values"]["train.freeze_layers"] > 0
    own = yaml.load((folder.trial("fine", 0) / "recipe.yaml").read_text(), Loader=Loader)
    run = pipeline.train(Recipe.model_validate({**own, "output_dir": str(tmp_path / "again")}))
    assert run.manifest()["used"]["train"]["cache_frozen_layers"]
    assert run.metrics["train"]["history"] == trial["history"]


def test_the_code_of_the_page_runs(search_recipe, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "tune.md").read_text()
    [block] = re.findall(r"```python\n(.+?)```", page, re.DOTALL)
    recipe = search_recipe(tmp_path / "run", trials=2, seeds=1)
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe.model_dump(mode="json", exclude_unset=True), sort_keys=False))
    own = block.replace("examples/support/text-classification.yaml", str(file))
    exec(compile(own, "docs/tune.md", "exec"), {})
    assert "default 1 complete" in capsys.readouterr().out


def test_the_space_of_the_page_is_valid():
    page = (Path(__file__).parents[2] / "docs" / "tune.md").read_text()
    [block] = re.findall(r"```yaml\n(.+?)```", page, re.DOTALL)
    tree = yaml.load(block, Loader=Loader)
    recipe = Recipe.model_validate({"data": {"train": ["x.csv"]}, **tree})
    assert len(read_space(recipe, TASKS.get("text-classification"), [])) == 4
