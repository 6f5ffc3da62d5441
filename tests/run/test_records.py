"""What a run remembers (columns, base model), what it hides (passwords), and how it is replaced."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

import tunesmith
from tunesmith import pipeline
from tunesmith.errors import DataError, InterruptedRunError, RunError, UserError
from tunesmith.inference.streaming import names_of_files, predict_rows, rows_of_files, rows_of_lines
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.tasks import RowError
from tunesmith.testing.listeners import Recorder
from tunesmith.testing.tiny import as_probe, tiny_rows, write_rows


def a_recipe(model, folder: Path, file: Path | str, **data) -> Recipe:
    return Recipe.model_validate({
        "model": str(model),
        "output_dir": str(folder),
        "data": {"train": [str(file)], "validation": 0.2, **data},
        "train": {"max_steps": 2, "learning_rate": 5e-3, "head_start": False},
        "evaluate": {"bootstrap_samples": 100, "baselines": False},
    })  # fmt: skip


def two_texts(folder: Path, name: str, n: int, seed: int) -> Path:
    """Rows whose text is in `body`; the column `text` says the same words for every row."""
    rows = [
        {"text": "the cat is red", "body": row["text"], "mood": row["label"]}
        for row in tiny_rows(n, seed=seed)
    ]
    return write_rows(folder / name, rows)


# Columns


@pytest.fixture(scope="module")
def body_run(tiny_model, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("body")
    recipe = a_recipe(
        tiny_model,
        folder / "run",
        two_texts(folder, "train.csv", 120, 1),
        columns={"text": "body", "label": "mood"},
    )
    return pipeline.train(as_probe(recipe))


def predicted(run, file, named=None, **how):
    rows = rows_of_files([str(file)])
    return list(predict_rows(tunesmith.load(run.path), rows, named or {}, keep_bad_rows=False, **how))


def test_predict_and_evaluate_read_the_columns_of_the_training(body_run, tmp_path):
    file = two_texts(tmp_path, "new.csv", 60, 2)
    found = predicted(body_run, file)
    truth = [row["label"] for row in tiny_rows(60, seed=2)]
    right = sum(line["label"] == label for line, label in zip(found, truth, strict=True)) / 60
    assert {line["text"] for line in found} == {row["text"] for row in tiny_rows(60, seed=2)}
    metrics = pipeline.evaluate(body_run.path, [str(file)])
    of_all_rows = metrics["seen_in_training"]["with"] or metrics["splits"]["test"]
    assert of_all_rows["accuracy"]["value"] == pytest.approx(right)
    assert body_run.read_as() == [{"text": "body", "label": "mood"}]


def test_a_column_of_the_command_wins(body_run, tmp_path):
    file = two_texts(tmp_path, "new.csv", 10, 2)
    assert {line["text"] for line in predicted(body_run, file, {"text": "text"})} == {"the cat is red"}
    renamed = write_rows(tmp_path / "renamed.csv", [{"said": "a cat", "text": "x"}])
    assert predicted(body_run, renamed, {"text": "said"})[0]["text"] == "a cat"


def test_a_file_without_the_column_is_refused_with_both_names(body_run, tmp_path):
    file = write_rows(tmp_path / "new.csv", [{"text": "a cat", "label": "animal"}])
    with pytest.raises(
        DataError, match="trained with `text` = column `body`, and there is no column `body`"
    ) as one:
        predicted(body_run, file)
    assert "--column text=COLUMN" in one.value.remedy
    assert "`text`, `label`" in one.value.remedy
    with pytest.raises(DataError, match="there is no column `body`"):
        pipeline.evaluate(body_run.path, [str(file)])
    found = pipeline.evaluate(body_run.path, [str(file)], columns={"text": "text", "label": "label"})
    assert found["primary"]["n"] == 1


def test_texts_of_a_pipe_need_no_column(body_run):
    predictor = tunesmith.load(body_run.path)
    rows = rows_of_lines(["a cat"], predictor.task, predictor.needed)
    assert next(predict_rows(predictor, rows, {}, keep_bad_rows=False, from_files=False))["text"] == "a cat"


def test_an_older_run_is_read_by_the_columns_that_it_showed(body_run, tmp_path):
    shutil.copytree(body_run.path, tmp_path / "old")
    old = Run(tmp_path / "old")
    data = old.manifest()["data"]
    del data["read_as"]
    old.update_manifest(data=data)
    assert old.read_as() == [{"text": "body", "label": "mood"}]


@pytest.fixture(scope="module")
def pair_run(tiny_model, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("pairs")
    rows = [{"text": r["text"], "hypothesis": "the dog is old", "label": r["label"]} for r in tiny_rows(60)]
    file = write_rows(folder / "train.csv", rows)
    return pipeline.train(as_probe(a_recipe(tiny_model, folder / "run", file)))


def test_an_optional_input_of_the_training_is_required_afterwards(pair_run, tmp_path):
    predictor = tunesmith.load(pair_run.path)
    assert predictor.needed == ("text", "text_pair")
    with pytest.raises(RowError, match="needs more than a text: give a row with text, text_pair"):
        predictor("a cat")
    with pytest.raises(RowError, match="needs `text_pair`"):
        predictor({"text": "a cat"})
    assert predictor({"text": "a cat", "text_pair": "a dog"})["label"]
    file = write_rows(tmp_path / "new.csv", [{"text": "a cat", "label": "animal"}])
    for try_it in (lambda: predicted(pair_run, file), lambda: pipeline.evaluate(pair_run.path, [str(file)])):
        with pytest.raises(
            DataError, match="`text_pair` = column `hypothesis`, and there is no column `hypothesis`"
        ):
            try_it()
    with pytest.raises(DataError, match="`text_pair` = column `hypothesis`"):
        predicted(pair_run, file, {"text": "text"})
    lines = rows_of_lines(
        ["a cat", '{"text": "a cat", "text_pair": "a dog"}'], predictor.task, predictor.needed
    )
    one, other = predict_rows(predictor, lines, {}, keep_bad_rows=True, from_files=False)
    assert 'needs a JSON object like {"text": "…", "text_pair": "…"}' in one["error"]
    assert other["label"]


def test_answers_for_files_of_one_name_are_told_apart(body_run, tmp_path):
    files = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        files.append(str(two_texts(tmp_path / folder, "a.csv", 2, 2)))
    predictor = tunesmith.load(body_run.path)
    found = predict_rows(
        predictor, rows_of_files(files), {}, keep_bad_rows=False, names=names_of_files(files)
    )
    assert [line["row"] for line in found] == ["one/a.csv:2", "one/a.csv:3", "two/a.csv:2", "two/a.csv:3"]


# The base model


@pytest.fixture
def own_model(tiny_model, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "base"))


def interrupted(recipe, monkeypatch):
    from tunesmith.training.loop import _Loop

    def interrupt(loop):
        raise InterruptedRunError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(_Loop, "_step", interrupt)
        with pytest.raises(InterruptedRunError):
            pipeline.train(recipe)


def test_the_manifest_says_which_model_the_run_began_from(pair_run, tiny_model):
    from tunesmith.run import sha256_of

    model = pair_run.manifest()["model"]
    assert (model["name"], model["found_in"], model["revision"]) == (str(tiny_model), "folder", None)
    assert {"model.safetensors", "tokenizer.json", "config.json"} <= set(model["sha256"])
    assert model["sha256"]["model.safetensors"] == sha256_of(tiny_model / "model.safetensors")


def test_the_revision_is_the_commit_of_the_snapshot(tiny_model, tmp_path):
    from tunesmith.models.identity import identify
    from tunesmith.models.resolve import ModelFiles

    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123abc"
    shutil.copytree(tiny_model, snapshot)
    found = identify(ModelFiles("a/b", snapshot, "the local Hub cache", "cache"))
    assert (found["found_in"], found["revision"]) == ("cache", "0123abc")


def test_a_run_does_not_resume_with_another_base_model(own_model, tiny_files, tmp_path, monkeypatch):
    recipe = a_recipe(own_model, tmp_path / "run", tiny_files["train"])
    interrupted(recipe, monkeypatch)
    weights = own_model / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (own_model / "added_tokens.json").write_text("{}")
    with pytest.raises(
        RunError, match=r"has changed since the run began: model.safetensors is another"
    ) as error:
        pipeline.train(recipe)
    assert "added_tokens.json is new" in error.value.rule
    assert Run(tmp_path / "run").manifest()["model"]["sha256"]
    weights.write_bytes(whole)
    (own_model / "added_tokens.json").unlink()
    (own_model / "notes.txt").write_text("no part of the model")
    assert pipeline.train(recipe).is_finished


@pytest.mark.parametrize("package", ["transformers", "numpy", "tunesmith"])
def test_another_version_of_what_decides_the_result_is_reported_on_resuming(
    tiny_model, tiny_files, tmp_path, monkeypatch, package
):
    recipe = as_probe(a_recipe(tiny_model, tmp_path / "run", tiny_files["train"]))
    run = pipeline.train(recipe)
    versions = run.manifest()["versions"]
    run.update_manifest(finished=False, versions={**versions, package: "0.0.1"})
    recorder = Recorder()
    pipeline.train(recipe, listeners=[recorder])
    assert any(
        said.startswith(f"{package} changed since the run began (0.0.1 → {versions[package]})")
        for said in recorder.said
    )


# Replacing a run


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def finished(pair_run, tmp_path) -> Run:
    shutil.copytree(pair_run.path, tmp_path / "run")
    return Run(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"model": "nobody/nothing"}, "is not found"),
        ({"data": {"train": ["nowhere.csv"]}}, "no such file"),
        ({"data": {"train": ["{bad}"]}}, "rows cannot be used"),
        ({"train": {"dpo_beta": 0.5}}, "has no effect"),
        ({"data": {"max_length": 4, "too_long": "stop"}}, "data.too_long is `stop`"),
        ({"train": {"method": "full", "cache_frozen_layers": True}}, "cache_frozen_layers is true"),
    ],
)  # fmt: skip
def test_force_removes_nothing_when_the_new_run_cannot_begin(finished, tiny_model, tmp_path, change, error):
    before = snapshot(finished.path)
    bad = write_rows(tmp_path / "bad.csv", [*tiny_rows(40), {"text": "", "label": "animal"}])
    good = write_rows(tmp_path / "good.csv", tiny_rows(40))
    recipe = a_recipe(tiny_model, finished.path, good)
    model = change.pop("model", recipe.model)
    text = json.dumps(change).replace("{bad}", str(bad))
    recipe = recipe.replace(**json.loads(text)).model_copy(update={"model": model})
    with pytest.raises(UserError, match=error):
        pipeline.train(recipe, force=True)
    assert snapshot(finished.path) == before


def test_force_replaces_the_run_once_the_new_one_trains(finished, tiny_model, tmp_path):
    (finished.path / "notes.txt").write_text("mine")
    recipe = a_recipe(tiny_model, finished.path, write_rows(tmp_path / "good.csv", tiny_rows(40)))
    run = pipeline.train(recipe, force=True)
    assert run.recipe().train.max_steps == 2
    assert run.manifest()["data"]["read_as"] == [{"text": "text", "label": "label"}]
    assert sorted(p.name for p in run.path.iterdir() if p.name.startswith(".")) == []
    assert (run.path / "notes.txt").read_text() == "mine"


def test_force_does_not_clear_a_folder_that_holds_no_run(tiny_model, tiny_files, tmp_path):
    mine = tmp_path / "project"
    (mine / "data").mkdir(parents=True)
    (mine / "data" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="holds no run"):
        pipeline.train(a_recipe(tiny_model, mine, tiny_files["train"]), force=True)
    assert snapshot(mine) == {"data/thesis.txt": b"mine"}


def test_a_run_is_not_replaced_by_one_that_is_made_from_it(finished, tmp_path):
    file = write_rows(tmp_path / "good.csv", tiny_rows(40))
    before = snapshot(finished.path)
    with pytest.raises(RunError, match="is part of the run"):
        pipeline.train(a_recipe(finished.path, finished.path, file), force=True)
    assert snapshot(finished.path) == before


# Secrets and rights


def database(folder: Path) -> Path:
    connection = sqlite3.connect(folder / "desk.db")
    with connection:
        connection.execute("CREATE TABLE mail (text TEXT, label TEXT)")
        rows = [(row["text"], row["label"]) for row in tiny_rows(60)]
        connection.executemany("INSERT INTO mail VALUES (?, ?)", rows)
    connection.close()
    return folder / "desk.db"


def test_no_file_of_a_run_holds_a_password(tiny_model, tmp_path, tunesmith):
    pytest.importorskip("sqlalchemy")
    url = f"sqlite:///{database(tmp_path)}?password=Tr0ub4dor#SELECT text, label FROM mail"
    done = tunesmith(
        "train", f"model={tiny_model}", f"data.train={url}", "--output-dir", tmp_path / "run", "train.max_steps=2",
        "evaluate.baselines=false", "evaluate.bootstrap_samples=100",
    )  # fmt: skip
    assert done.code == 0, done.err
    run = Run(tmp_path / "run")
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert {"manifest.json", "recipe.yaml", "report.html", "splits.json"} <= {path.name for path in files}
    assert [path.name for path in files if b"Tr0ub4dor" in path.read_bytes()] == []
    assert "Tr0ub4dor" not in done.out + done.err
    for text in (run.manifest()["command"], run.recipe_file.read_text(), run.report_file.read_text()):
        assert "desk.db?password=***#SELECT" in text


@pytest.mark.parametrize("umask", [0o077, 0o022])
def test_files_of_a_run_and_of_an_export_have_the_rights_of_the_umask(
    tiny_model, tiny_files, tmp_path, umask
):
    old = os.umask(umask)
    try:
        run = pipeline.train(a_recipe(tiny_model, tmp_path / "run", tiny_files["validation"]))
        export = tunesmith.export(run.path, "bf16", overrides={"export.min_agreement": 0.0})
    finally:
        os.umask(old)
    paths = [p for folder in (run.path, Path(export["path"])) for p in (folder, *folder.rglob("*"))]
    assert any("checkpoints" in path.parts for path in paths)
    for path in paths:
        whole = 0o777 if path.is_dir() else 0o666
        assert path.stat().st_mode & 0o777 == whole & ~umask, path


def test_a_run_with_a_masked_password_resumes_and_another_password_is_the_same_recipe(
    tiny_model, tmp_path, monkeypatch
):
    pytest.importorskip("sqlalchemy")
    file = database(tmp_path)

    def recipe(password):
        url = f"sqlite:///{file}?password={password}#SELECT text, label FROM mail"
        return a_recipe(tiny_model, tmp_path / "run", url)

    interrupted(recipe("Tr0ub4dor"), monkeypatch)
    run = pipeline.train(recipe("c0rrect"))
    assert run.is_finished
    assert "password=***" in run.recipe().data.train[0]
    with pytest.raises(DataError, match="recorded without its password"):
        pipeline.train(run.recipe().model_copy(update={"output_dir": str(tmp_path / "again")}))


def test_a_launcher_of_several_processes_is_refused_before_anything_is_touched(
    tiny_model, tiny_files, tmp_path, monkeypatch
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match="another one has started 2 processes"):
        pipeline.train(a_recipe(tiny_model, tmp_path / "run", tiny_files["train"]))
    assert not (tmp_path / "run").exists()
