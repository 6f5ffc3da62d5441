"""`label`: from a pool to a file to fill in, and back into a training."""

import csv
import json

import pytest

import tunesmith as ts
from tunesmith import pipeline
from tunesmith.data.to_label import default_file
from tunesmith.errors import DataError, ModelError, RecipeError
from tunesmith.tasks import TASKS
from tunesmith.tasks._values import UNFILLED
from tunesmith.testing.tiny import tiny_rows, write_rows, write_tiny_model
from tunesmith.testing.tiny_tasks import TINY_TASKS

pytestmark = pytest.mark.usefixtures("lean")


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def pool(tmp_path_factory, tiny_files):
    """Sixty new texts, five of the training, two that repeat, and three that have labels."""
    rows = [{"id": str(n), "text": f"{row['text']} {n}"} for n, row in enumerate(tiny_rows(60, seed=9))]
    rows += [{"id": f"t{n}", "text": row["text"]} for n, row in enumerate(read(tiny_files["train"])[:5])]
    rows += [dict(rows[0]), dict(rows[1])]
    rows = [{**row, "label": ""} for row in rows]
    rows += [{"id": f"l{n}", "text": f"a labelled text {n}", "label": "cat"} for n in range(3)]
    return write_rows(tmp_path_factory.mktemp("pool") / "pool.csv", rows)


def test_a_run_picks_rows_into_a_file_that_training_takes_back(
    finished_run, pool, tiny_files, tmp_path, tunesmith, monkeypatch, tiny_model
):
    monkeypatch.chdir(tmp_path)
    done = tunesmith("label", finished_run.path, "--data", pool, "--n", 8, "--json")
    found = json.loads(done.out)
    assert done.code == 0
    assert found["left_out"] == {"have a label": 3, "repeat a text of the pool": 2, "were trained on": 5}
    assert (found["rows"], found["pool"], found["output"]) == (8, 70, "pool-to-label.csv")
    assert found["to_fill_in"] == ["label"]
    assert found["picked"][0]["row"].startswith("pool.csv:")
    assert all(0 <= entry["uncertainty"] <= 1 for entry in found["picked"])
    assert found["expected"]["rows"] == 160
    assert "8 more rows" in found["expected"]["text"]
    file = tmp_path / "pool-to-label.csv"
    rows = read(file)
    assert [list(row) for row in rows] == [["id", "text", "label"]] * 8
    assert {row["label"] for row in rows} == {""}
    assert len({row["id"] for row in rows} - {str(n) for n in range(60)}) == 0

    again = tunesmith("label", finished_run.path, "--data", pool, "--n", 8)
    assert again.code == 2, "the file is not replaced"
    assert "--force" in again.err

    answers = sorted({row["label"] for row in read(tiny_files["train"])})
    for number, row in enumerate(rows[:-1]):
        row["label"] = answers[number % len(answers)]
    write_rows(file, rows)
    how = {"model": tiny_model, "method": "probe", "validation": tiny_files["validation"], "progress": False}
    with pytest.raises(DataError, match=r"pool-to-label\.csv, line 9: .*label is empty"):
        ts.train([tiny_files["train"], file], output_dir=tmp_path / "run", **how)
    rows[-1]["label"] = answers[0]
    write_rows(file, rows)
    run = ts.train([tiny_files["train"], file], output_dir=tmp_path / "run", **how)
    assert run.manifest()["data"]["rows"]["train"] == 168
    with pytest.raises(DataError, match="no row of the pool is left"):
        pipeline.label(run.path, [str(file)])


def test_a_base_model_picks_without_a_run(tiny_model, pool, tmp_path):
    found = ts.label(tiny_model, pool, n=5, output=tmp_path / "first.jsonl", progress=False)
    lines = [json.loads(line) for line in (tmp_path / "first.jsonl").read_text().splitlines()]
    assert found["by"] == "diversity"
    assert [line["label"] for line in lines] == [None] * 5
    assert found["expected"] is None
    assert "uncertainty" not in found["picked"][0]


@pytest.mark.parametrize("name", ["multi-label-classification", "text-regression", "token-classification"])
def test_other_tasks_pick_and_refuse_what_is_left_open(name, tmp_path):
    """A run picks; the file is refused as long as a row is open, whatever a blank means for the task."""
    tiny = TINY_TASKS.get(name)
    model = write_tiny_model(tmp_path / "model")
    from tunesmith.testing.tiny import different_rows

    rows = different_rows(tiny.make, 90, seed=0)
    train = write_rows(tmp_path / "train.jsonl", rows[:60])
    targets = {column.name for column in TASKS.get(name).columns if column.target}
    pool = write_rows(
        tmp_path / "pool.jsonl", [{k: v for k, v in row.items() if k not in targets} for row in rows[60:]]
    )
    run = ts.train(
        train, task=name, model=model, method="probe", output_dir=tmp_path / "run", progress=False,
        overrides={"data.check": "off", "evaluate.baselines": False},
    )  # fmt: skip
    for file in (tmp_path / "open.jsonl", tmp_path / "open.csv"):
        found = ts.label(run, pool, n=6, output=file, progress=False)
        assert found["rows"] == 6
        with pytest.raises(DataError, match="6 of 6 rows cannot be used"):
            ts.evaluate(run, file, progress=False)
    known = name != "text-regression"
    assert ("uncertainty" in found["picked"][0]) is known
    assert found["by"] == ("uncertainty and diversity" if known else "diversity")


def test_where_a_blank_is_a_label_a_mark_says_that_it_is_open(tmp_path):
    from tunesmith.data.to_label import write_to_label

    task = TASKS.get("multi-label-classification")
    write_to_label(tmp_path / "a.csv", task, [{"text": "a"}], {"text": "a"}, {"labels": "labels"})
    assert read(tmp_path / "a.csv") == [{"text": "a", "labels": UNFILLED}]
    write_to_label(tmp_path / "b.csv", task, [{"text": "a"}], {"text": "a"}, {"labels": ["red", "big"]})
    assert read(tmp_path / "b.csv") == [{"text": "a", "red": UNFILLED, "big": UNFILLED}]


def test_what_cannot_be_picked_is_refused(tiny_model, finished_run, pool, tmp_path):
    with pytest.raises(ModelError, match="rows are picked for tasks with labels, and chat has none"):
        pipeline.label(str(tiny_model), [str(pool)], task="chat", output=tmp_path / "x.csv")
    with pytest.raises(RecipeError, match="`--task` says text-regression"):
        pipeline.label(finished_run.path, [str(pool)], task="regression", output=tmp_path / "x.csv")
    with pytest.raises(RecipeError, match=r"must end in \.jsonl"):
        pipeline.label(finished_run.path, [str(pool)], output=tmp_path / "x.txt")
    (tmp_path / "bad.csv").write_text('id,text,label\n1,a text,\n2,"",\n')
    with pytest.raises(DataError, match="the row cannot be used: text is empty"):
        pipeline.label(finished_run.path, [str(tmp_path / "bad.csv")], output=tmp_path / "x.csv")


def test_the_file_is_named_after_the_pool():
    one, words = TASKS.get("text-classification"), TASKS.get("token-classification")
    assert str(default_file(one, "data/pool.csv")) == "pool-to-label.csv"
    assert str(default_file(one, "pool.parquet")) == "pool-to-label.jsonl"
    assert str(default_file(words, "pool.csv")) == "pool-to-label.jsonl"


def test_the_check_of_rare_labels_prints_the_command(tmp_path, tiny_model):
    rows = [{"text": f"a text about topic {n}", "label": "a" if n % 8 else "b"} for n in range(40)]
    found = ts.check(write_rows(tmp_path / "few.csv", rows), model=tiny_model, fast=True, progress=False)
    (finding,) = [it for it in found.findings if "too few to be learned" in it["text"]]
    assert f"`tunesmith label {tiny_model} --data POOL.csv --n 50" in finding["remedy"]
