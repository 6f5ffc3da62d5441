"""Runs are compared on the rows that they have in common."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import tunesmith
from tunesmith import pipeline
from tunesmith.cli.main import main
from tunesmith.errors import DataError, RunError
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.testing.tiny import tiny_rows, write_rows

pytestmark = pytest.mark.usefixtures("lean")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("compared")


@pytest.fixture(scope="module")
def files(folder):
    rows = tiny_rows(400)
    return {
        "train": write_rows(folder / "train.csv", rows[:160]),
        "validation": write_rows(folder / "validation.csv", rows[160:200]),
        "test": write_rows(folder / "test.csv", rows[200:]),
        "part": write_rows(folder / "part.csv", rows[360:]),
        "other": write_rows(folder / "other.csv", tiny_rows(300)[260:]),
    }


@pytest.fixture(scope="module")
def train(folder, files, tiny_model):
    def trained(name, **data):
        sources = {split: [str(files[split])] for split in ("train", "validation", "test")}
        recipe = {
            "model": str(tiny_model),
            "output_dir": str(folder / name),
            "data": {**sources, **data},
            "train": {"num_train_epochs": 1 if name == "short" else 3, "learning_rate": 5e-3},
            "evaluate": {"bootstrap_samples": 100, "baselines": False},
        }
        return pipeline.train(Recipe.model_validate(recipe))

    return trained


@pytest.fixture(scope="module")
def short(train):
    return train("short")


@pytest.fixture(scope="module")
def long(train, files):
    """Trained longer, and with another test file: 40 of the rows of the other run."""
    return train("long", test=[str(files["part"])])


@pytest.fixture(scope="module")
def found(short, long):
    said = []
    return pipeline.compare([short, long], listeners=[said.append]), said


def lines_of(run):
    return [json.loads(line) for line in (run.predictions / "test.jsonl").read_text().splitlines()]


def new_texts(run):
    """The texts of the scored rows that the run was not trained on, or nearly."""
    with np.load(run.predictions / "test.npz") as kept:
        return [
            line["text"] for line, is_seen in zip(lines_of(run), kept["is_seen"], strict=True) if not is_seen
        ]


def test_the_rows_that_both_answered_are_compared_and_their_number_is_said(found):
    comparison, said = found
    assert comparison["rows"]["compared"] + comparison["rows"]["left_out"] == 40
    assert comparison["rows"]["compared"] > 30
    assert [run["answered_rows"] for run in sorted(comparison["runs"], key=lambda run: run["name"])] == [
        40,
        200,
    ]
    assert any("40 rows are common to all runs" in getattr(event, "text", "") for event in said)


def test_scores_and_counts_are_those_of_the_predictions(found, short, long):
    comparison, _ = found
    right = {
        run.path.name: {line["text"]: line["correct"] for line in lines_of(run)} for run in (short, long)
    }
    common = new_texts(long)
    assert len(common) == comparison["rows"]["compared"]
    for run in comparison["runs"]:
        expected = np.mean([right[run["name"]][text] for text in common])
        assert run["scores"]["accuracy"]["value"] == pytest.approx(expected)
    pair = comparison["pairs"][0]
    first, second = (np.array([right[pair[which]][text] for text in common]) for which in ("first", "second"))
    assert pair["only_first_right"] == np.sum(first & ~second)
    assert pair["only_second_right"] == np.sum(second & ~first)
    assert pair["difference"] == pytest.approx(first.mean() - second.mean())
    assert comparison["disagreements"]["rows"] == np.sum(first != second)


def test_what_differs_in_the_recipes_is_named(found):
    comparison, _ = found
    by_name = {run["name"]: run["recipe"] for run in comparison["runs"]}
    assert by_name["short"]["train.num_train_epochs"] == 1
    assert by_name["long"]["train.num_train_epochs"] == 3
    assert set(by_name["short"]) == {"train.num_train_epochs", "data.test"}


def test_rows_on_which_they_disagree_are_shown_with_every_answer(found):
    comparison, _ = found
    for lines in comparison["disagreements"]["shown"]:
        assert {line["text"] for line in lines.values()} == {lines["short"]["text"]}
        assert len({line["correct"] for line in lines.values()}) == 2


def test_the_order_of_the_runs_changes_no_figure(found, short, long):
    comparison, _ = found
    again = pipeline.compare([long, short])
    assert again["pairs"] == comparison["pairs"]
    assert again["best"] == comparison["best"]


@pytest.fixture
def without_checksums(monkeypatch):
    """As in a run of an earlier version, whose manifest has no checksums of its files."""
    monkeypatch.setattr(Run, "problems", lambda run, decisive=True: [])


@pytest.mark.usefixtures("without_checksums")
def test_an_older_run_answers_its_rows_again_and_the_figures_are_the_same(found, short, long, tmp_path):
    comparison, _ = found
    kept = short.predictions / "test.npz"
    kept.rename(tmp_path / "kept.npz")
    try:
        said = []
        again = pipeline.compare([short, long], listeners=[said.append])
    finally:
        (tmp_path / "kept.npz").rename(kept)
    assert again["pairs"] == comparison["pairs"]
    assert {run["name"]: run["answered_again"] for run in again["runs"]} == {"short": True, "long": False}
    assert any("answers the test rows again" in getattr(event, "text", "") for event in said)


@pytest.mark.usefixtures("without_checksums")
def test_an_older_run_without_its_data_is_refused_with_what_helps(short, long, files, tmp_path):
    kept, data = short.predictions / "test.npz", files["test"]
    kept.rename(tmp_path / "kept.npz")
    data.rename(tmp_path / "test.csv")
    try:
        with pytest.raises(DataError, match="changed or are gone") as error:
            pipeline.compare([short, long])
    finally:
        (tmp_path / "kept.npz").rename(kept)
        (tmp_path / "test.csv").rename(data)
    assert "--data FILE" in error.value.remedy


def test_every_run_answers_the_rows_of_a_file(short, long, files):
    comparison = tunesmith.compare(short, long, data=str(files["other"]), progress=False)
    assert comparison["rows"]["compared"] + comparison["rows"]["left_out"] == 40
    scores = {run["name"]: run["scores"]["accuracy"]["value"] for run in comparison["runs"]}
    for run in (short, long):
        metrics = tunesmith.evaluate(run, str(files["other"]), progress=False)
        assert scores[run.path.name] == pytest.approx(metrics["primary"]["value"])


def test_rows_that_one_was_trained_on_are_left_out(train, short, files):
    greedy = train("greedy", train=[str(files["train"]), str(files["part"])])
    comparison = pipeline.compare([short, greedy])
    assert comparison["rows"]["left_out"] >= 40
    assert comparison["rows"]["compared"] == len(set(new_texts(short)) & set(new_texts(greedy)))


def test_runs_without_common_rows_are_refused(train, short, files):
    apart = train("apart", test=[str(files["validation"])])
    with pytest.raises(RunError, match="no rows in common") as error:
        pipeline.compare([short, apart])
    assert "--data FILE" in error.value.remedy


def test_one_run_and_the_same_run_twice_are_refused(short):
    for paths in ([short], [short, short], [short, str(short.path)]):
        with pytest.raises(RunError, match="two or more different runs"):
            pipeline.compare(paths)


def test_other_tasks_are_refused(short, long, tmp_path):
    other = Run(shutil.copytree(long.path, tmp_path / "other"))
    manifest = json.loads(other.manifest_file.read_text())
    manifest["used"]["task"] = "multi-label-classification"
    del manifest["sum"]
    other.manifest_file.write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="different tasks"):
        pipeline.compare([short, other])


def test_runs_of_the_same_name_go_by_their_folders(short, long, tmp_path):
    other = shutil.copytree(long.path, tmp_path / "short")
    comparison = pipeline.compare([short, other])
    assert {run["name"] for run in comparison["runs"]} == {str(short.path), str(other)}


def test_the_python_object_is_a_table_and_shows_itself(short, long):
    comparison = tunesmith.compare(short, long, progress=False)
    best, other = comparison.table
    assert best["run"] == comparison["best"]
    assert best["p_holm"] is None
    assert other["difference"] == comparison["pairs"][0]["difference"]
    assert other["train.num_train_epochs"] in (1, 3)
    assert "the best" in repr(comparison)
    assert "<table" in comparison._repr_html_()


def test_the_page_has_the_figures_and_loads_nothing(short, long, tmp_path):
    comparison = tunesmith.compare(short, long, progress=False)
    comparison.write(tmp_path / "compare.html")
    page = (tmp_path / "compare.html").read_text()
    for run in comparison["runs"]:
        assert f"{100 * run['scores']['accuracy']['value']:.1f} %" in page
    assert "<svg role=" in page
    assert "src=" not in page


def test_the_verb_prints_json_and_writes_no_page_over_another(short, long, tmp_path, capsys, monkeypatch):
    page = tmp_path / "compare.html"
    command = ["tunesmith", "compare", str(short.path), str(long.path), "--json", "-o", str(page)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["rows"]["compared"] > 30
    assert page.exists()
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


def test_the_code_of_the_page_runs(short, long, tmp_path, monkeypatch, capsys):
    """docs/compare.md, with two other runs in the places of those that it names."""
    page = (Path(__file__).parents[2] / "docs" / "compare.md").read_text()
    for name, run in {"demo": short, "probe": long}.items():
        shutil.copytree(run.path, tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.+?)```", page, re.DOTALL)
    exec(compile(block, "docs/compare.md", "exec"), {})
    assert "the best" in capsys.readouterr().out
    assert (tmp_path / "compare.html").is_file()
