"""The whole way: data to report, stopped and gone on, poisoned."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from tunesmith import pipeline
from tunesmith.errors import DataError, InterruptedRunError, ModelError, NonFiniteError, RunError
from tunesmith.events import Failed, Finished
from tunesmith.recipe import Recipe
from tunesmith.reports import write_report
from tunesmith.run import Run
from tunesmith.testing import forked
from tunesmith.testing.listeners import Recorder, at_step, raising
from tunesmith.testing.tiny import as_probe, tiny_rows, write_rows

pytestmark = pytest.mark.usefixtures("lean")


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.model / "model.safetensors")


def assert_same_weights(one: Run, other: Run) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def with_train(recipe: Recipe, output_dir: Path, **train) -> Recipe:
    recipe = as_probe(recipe, **train) if train.get("method") == "probe" else recipe.replace(train=train)
    return recipe.model_copy(update={"output_dir": str(output_dir)})


def test_a_run_folder_holds_what_the_contract_says(finished_run):
    run = finished_run
    for name in ("recipe.yaml", "manifest.json", "events.jsonl", "metrics.json", "report.html"):
        assert (run.path / name).is_file(), name
    assert (run.model / "README.md").is_file()
    assert (run.predictions / "test.jsonl").is_file()
    assert json.loads((run.data / "splits.json").read_text())["train"][0] == "train.csv:2"
    truncation = json.loads((run.data / "supervision.json").read_text())
    assert {name: found["rows"] for name, found in truncation.items()} == {
        "train": 160, "validation": 40, "test": 60,
    }  # fmt: skip
    assert all(found["lost"] == {} and found["rows_cut"] == 0 for found in truncation.values())
    metrics = run.metrics
    lines = [json.loads(line) for line in (run.predictions / "test.jsonl").read_text().splitlines()]
    left_out = sum(line.get("left_out", False) for line in lines)
    assert (len(lines), metrics["seen_in_training"]["rows"]) == (60, left_out)
    counted = {"n": 60 - left_out, "left_out": left_out}
    assert metrics["primary"] == {"name": "accuracy", "split": "test", "confidence": 0.95, **counted} | {
        key: metrics["splits"]["test"]["accuracy"][key] for key in ("value", "low", "high")
    }
    assert set(metrics["baselines"]) == {"majority", "tfidf_logistic_regression", "probe"}
    assert metrics["primary"]["low"] <= metrics["primary"]["value"] <= metrics["primary"]["high"]
    assert metrics["primary"]["value"] > metrics["baselines"]["majority"]["accuracy"]
    assert {"seconds", "steps", "examples", "tokens"} <= set(metrics["train"])
    assert "NaN" not in run.metrics_file.read_text()


def test_the_used_recipe_has_no_auto_in_its_numbers_and_gives_the_same_model(finished_run, tmp_path):
    used = finished_run.recipe()
    assert isinstance(used.train.learning_rate, float)
    assert isinstance(used.train.eval_steps, int)
    again = pipeline.train(used.model_copy(update={"output_dir": str(tmp_path / "again")}))
    assert_same_weights(finished_run, again)


def test_pipeline_of_transformers_gives_the_answers_of_predict(finished_run):
    from transformers import pipeline as hugging_face

    from tunesmith import load

    texts = [row["text"] for row in tiny_rows(40, seed=9)]
    theirs = hugging_face("text-classification", str(finished_run.model), top_k=None)(texts)
    ours = load(finished_run.path)(texts)
    for mine, other in zip(ours, theirs, strict=True):
        by_label = {item["label"]: item["score"] for item in other}
        assert mine["label"] == max(by_label, key=by_label.get)
        assert mine["score"] == pytest.approx(by_label[mine["label"]], abs=1e-5)


def test_metrics_are_those_of_the_saved_model_and_of_scikit_learn(finished_run, tiny_files):
    import csv

    from sklearn.metrics import accuracy_score, f1_score

    from tunesmith import load

    lines = map(json.loads, (finished_run.predictions / "test.jsonl").read_text().splitlines())
    counts = [not line.get("left_out") for line in lines]
    rows = list(csv.DictReader(tiny_files["test"].read_text().splitlines()))
    rows = [row for row, is_counted in zip(rows, counts, strict=True) if is_counted]
    predicted = [answer["label"] for answer in load(finished_run.path)([row["text"] for row in rows])]
    gold = [row["label"] for row in rows]
    scores = finished_run.metrics["splits"]["test"]
    assert scores["accuracy"]["value"] == pytest.approx(accuracy_score(gold, predicted), abs=1e-12)
    assert scores["f1_macro"]["value"] == pytest.approx(f1_score(gold, predicted, average="macro"), abs=1e-12)


def test_the_same_recipe_twice_gives_the_same_bits(tiny_recipe, tmp_path):
    one = pipeline.train(with_train(tiny_recipe, tmp_path / "one"))
    other = pipeline.train(with_train(tiny_recipe, tmp_path / "other"))
    assert_same_weights(one, other)
    another_seed = tiny_recipe.model_copy(update={"seed": 7, "output_dir": str(tmp_path / "third")})
    third = weights(pipeline.train(another_seed))
    assert any(not torch.equal(tensor, third[name]) for name, tensor in weights(one).items())


def test_killed_in_mid_epoch_and_started_again_gives_the_same_bits(tiny_recipe, tmp_path, tunesmith):
    """A real process, SIGKILL, in the middle of the second epoch, and again soon after going on."""
    how = {"eval_steps": 10, "save_steps": 3, "num_train_epochs": 5, "per_device_train_batch_size": 8}
    calm = pipeline.train(with_train(tiny_recipe, tmp_path / "calm", **how))
    killed = with_train(tiny_recipe, tmp_path / "killed", **how)
    recipe_file = tmp_path / "recipe.yaml"
    recipe_file.write_text(killed.to_yaml())
    for step in (24, 63):
        _kill_after(forked.start(train_from, recipe_file), Path(killed.output_dir), step)
    done = tunesmith("train", recipe_file, "--json")
    assert done.code == 0
    assert "resuming from step" in done.err
    assert_same_weights(calm, Run(killed.output_dir))
    steps = [event["step"] for event in Run(killed.output_dir).events() if event["kind"] == "step"]
    assert steps == sorted(set(steps))
    ours, theirs = calm.metrics, json.loads(done.out)
    assert ours["splits"] == theirs["splits"]
    assert ours["baselines"] == theirs["baselines"]


def train_from(recipe_file: Path) -> None:
    pipeline.train(Recipe.model_validate(yaml.safe_load(recipe_file.read_text())))


def _kill_after(process: BaseProcess, run: Path, step: int) -> None:
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.is_alive():
            saved = [int(p.name[5:]) for p in (run / "checkpoints").glob("step-*")]
            if max(saved, default=0) >= step:
                break
            time.sleep(0.002)
        assert process.is_alive(), "it ended before it could be killed"
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (run / "metrics.json").exists()


def test_a_signal_saves_everything_and_the_same_call_goes_on(tiny_recipe, tmp_path):
    interrupting = at_step(7, lambda: os.kill(os.getpid(), signal.SIGTERM))
    calm = pipeline.train(with_train(tiny_recipe, tmp_path / "calm"))
    stopped = with_train(tiny_recipe, tmp_path / "stopped")
    with pytest.raises(InterruptedRunError) as caught:
        pipeline.train(stopped, listeners=[interrupting])
    assert caught.value.exit_code == 75
    assert "SIGTERM after step 7" in str(caught.value)
    assert_same_weights(calm, pipeline.train(stopped))


def poisoned_copy(model: Path, folder: Path, tensor: str) -> Path:
    import shutil

    shutil.copytree(model, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors[tensor][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("head_start", [True, False])
def test_a_poisoned_model_stops_with_step_rows_and_remedy(tiny_recipe, tiny_model, tmp_path, head_start):
    poisoned = poisoned_copy(tiny_model, tmp_path / "poisoned", "encoder.layer.1.output.dense.weight")
    recipe = with_train(tiny_recipe, tmp_path / "run", head_start=head_start).model_copy(
        update={"model": str(poisoned)}
    )
    recipe = recipe.replace(evaluate={"baselines": head_start})
    with pytest.raises(NonFiniteError) as caught:
        pipeline.train(recipe)
    message = str(caught.value)
    assert message.startswith("probe, before step 1: " if head_start else "step 1: ")
    assert "train.csv, line " in message
    assert "encoder.layer.1.output.dense.weight" in message
    assert not (tmp_path / "run" / "model").exists()
    assert not list((tmp_path / "run" / "checkpoints").glob("step-*"))


def test_a_training_that_diverges_stops_and_keeps_no_such_weights(tiny_recipe, tmp_path):
    """AdamW without clipping at a rate of 1 and full decay: weights grow until the loss overflows."""
    recipe = with_train(
        tiny_recipe, tmp_path / "run", learning_rate=1.0, head_start=False, bf16=False, max_steps=60,
        max_grad_norm=1e30, warmup_steps=0, eval_steps=5, save_steps=5,
    )  # fmt: skip
    caught = None
    try:
        pipeline.train(recipe)
    except NonFiniteError as error:
        caught = str(error)
    assert caught is None or "smaller `train.learning_rate`" in caught
    for checkpoint in (tmp_path / "run" / "checkpoints").glob("step-*/model.safetensors"):
        assert all(torch.isfinite(tensor).all() for tensor in load_file(checkpoint).values())


def test_damaged_checkpoint_is_passed_over(tiny_recipe, tmp_path):
    class StopError(Exception):
        pass

    how = {"eval_steps": 5, "save_steps": 5}
    calm = pipeline.train(with_train(tiny_recipe, tmp_path / "calm", **how))
    recipe = with_train(tiny_recipe, tmp_path / "hurt", **how)
    with pytest.raises(StopError):
        pipeline.train(recipe, listeners=[at_step(14, raising(StopError))])
    newest = sorted((tmp_path / "hurt" / "checkpoints").glob("step-*"))[-1]
    data = bytearray((newest / "model.safetensors").read_bytes())
    data[-5] ^= 1
    (newest / "model.safetensors").write_bytes(data)
    recorder = Recorder()
    run = pipeline.train(recipe, listeners=[recorder])
    assert sum("model.safetensors is damaged" in text for text in recorder.warnings) == 1
    assert_same_weights(calm, run)


def test_a_finished_run_is_left_alone_and_another_recipe_refused(finished_run, tmp_path):
    recipe = Recipe.model_validate(finished_run.manifest()["requested"])
    before = finished_run.metrics_file.stat().st_mtime_ns
    pipeline.train(recipe)
    assert finished_run.metrics_file.stat().st_mtime_ns == before
    with pytest.raises(RunError, match=r"belongs to another recipe; it differs in `train.learning_rate`"):
        pipeline.train(recipe.replace(train={"learning_rate": 2e-3}))
    assert finished_run.metrics_file.stat().st_mtime_ns == before


def test_force_clears_the_run_and_nothing_else(tiny_recipe, tmp_path):
    run = pipeline.train(with_train(tiny_recipe, tmp_path / "run", method="probe"))
    (run.path / "notes.txt").write_text("mine")
    again = pipeline.train(
        with_train(tiny_recipe, tmp_path / "run", method="probe", pooling="mean"), force=True
    )
    assert again.recipe().train.pooling == "mean"
    assert (run.path / "notes.txt").read_text() == "mine"


def test_rows_are_set_aside_once_the_run_has_begun(tiny_recipe, tmp_path):
    """A model that is not found leaves no trace, so the mended command finds the folder free."""
    file = write_rows(tmp_path / "train.csv", [*tiny_rows(60), {"text": "", "label": "animal"}])
    recipe = with_train(tiny_recipe, tmp_path / "run", method="probe")
    recipe = recipe.replace(data={"train": [str(file)], "bad_rows": "set_aside"})
    with pytest.raises(ModelError):
        pipeline.train(recipe.model_copy(update={"model": "nobody/nothing"}))
    assert not (tmp_path / "run").exists()
    run = pipeline.train(recipe)
    aside = json.loads((run.data / "bad_rows.jsonl").read_text())
    assert (aside["line"], aside["reason"]) == (62, "text is empty.")
    assert run.manifest()["data"]["set_aside"] == 1


def test_changed_data_is_noticed(tiny_recipe, tmp_path):
    file = write_rows(tmp_path / "train.csv", tiny_rows(60))
    recipe = with_train(tiny_recipe, tmp_path / "run", method="probe").replace(data={"train": [str(file)]})
    pipeline.train(recipe)
    write_rows(file, tiny_rows(61))
    with pytest.raises(RunError, match="data have changed"):
        pipeline.train(recipe)


def test_two_processes_do_not_write_to_one_folder(tiny_recipe, tmp_path):
    with Run(tmp_path / "run").locked(), pytest.raises(RunError, match="another process"):
        pipeline.train(with_train(tiny_recipe, tmp_path / "run"))


def test_force_does_not_clear_a_folder_that_is_being_written_to(tiny_recipe, tmp_path):
    run = pipeline.train(with_train(tiny_recipe, tmp_path / "run", method="probe"))
    before = run.metrics_file.read_text()
    with run.locked(), pytest.raises(RunError, match="another process"):
        pipeline.train(with_train(tiny_recipe, tmp_path / "run", method="probe", pooling="mean"), force=True)
    assert run.metrics_file.read_text() == before


def test_the_used_recipe_goes_on_with_the_run_and_the_first_command_still_does(tiny_recipe, tmp_path):
    recipe = with_train(tiny_recipe, tmp_path / "run", method="probe")
    run = pipeline.train(recipe)
    before = weights(run)
    for asked in (run.recipe(), recipe):
        run.update_manifest(finished=False)
        again = pipeline.train(asked)
        assert again.is_finished
        assert all(torch.equal(before[name], tensor) for name, tensor in weights(again).items())


def test_probe_method_changes_nothing_but_the_head(tiny_recipe, tiny_model, tmp_path):
    run = pipeline.train(with_train(tiny_recipe, tmp_path / "run", method="probe"))
    before = load_file(tiny_model / "model.safetensors")
    after = weights(run)
    body = {name: tensor for name, tensor in before.items() if "pooler" not in name}
    assert all(torch.equal(tensor, after[f"bert.{name}"]) for name, tensor in body.items())
    assert run.metrics["baselines"]["probe"]["accuracy"] == run.metrics["primary"]["value"]


@pytest.mark.parametrize("layers", [1, 2])
def test_frozen_layers_are_bit_identical(tiny_recipe, tiny_model, tmp_path, layers):
    run = pipeline.train(with_train(tiny_recipe, tmp_path / "run", freeze_layers=layers))
    before, after = load_file(tiny_model / "model.safetensors"), weights(run)
    frozen = ["embeddings.", *(f"encoder.layer.{i}." for i in range(layers))]
    for name, tensor in before.items():
        if name.startswith(tuple(frozen)):
            assert torch.equal(tensor, after[f"bert.{name}"]), name
    if layers == 1:
        name = "encoder.layer.1.output.dense.weight"
        assert not torch.equal(before[name], after[f"bert.{name}"])


def test_without_test_rows_the_validation_rows_are_scored(tiny_recipe, tmp_path):
    recipe = with_train(tiny_recipe, tmp_path / "run", method="probe")
    recipe = recipe.replace(data={"test": None, "validation": 0.2})
    run = pipeline.train(recipe)
    assert run.metrics["primary"]["split"] == "validation"
    assert run.manifest()["data"]["rows"] == {"train": 128, "validation": 32}
    write_report(run)
    assert "chosen on the validation rows" in run.report_file.read_text()


def test_slices_and_groups_are_scored(tiny_recipe, tmp_path):
    rows = [{**row, "shop": "north" if i % 3 else "south"} for i, row in enumerate(tiny_rows(90))]
    file = write_rows(tmp_path / "data.jsonl", rows)
    recipe = with_train(tiny_recipe, tmp_path / "run", method="probe").replace(
        data={"train": [str(file)], "validation": 0.3, "test": 0.3},
        evaluate={"slices": ["shop"], "groups": ["shop"]},
    )
    found = pipeline.train(recipe).metrics["slices"]["shop"]
    assert set(found["values"]) == {"north", "south"}
    values = [score["value"] for score in found["values"].values()]
    assert found["gap"] == pytest.approx(max(values) - min(values))


def test_rows_of_a_group_are_taken_together_in_intervals_and_a_file_without_groups_is_reported(
    tiny_recipe, tmp_path, tiny_files
):
    rows = [{**row, "shop": f"shop {i // 10}"} for i, row in enumerate(tiny_rows(200))]
    files = {"train": rows[:100], "validation": rows[100:150], "test": rows[150:]}
    data = {name: [str(write_rows(tmp_path / f"{name}.jsonl", part))] for name, part in files.items()}
    recipe = with_train(tiny_recipe, tmp_path / "run", method="probe")
    run = pipeline.train(recipe.replace(data={**data, "group_by": "shop"}))
    primary = run.metrics["primary"]
    assert (primary["n"] + primary.get("left_out", 0), primary["groups"]) == (50, 5)
    write_report(run)
    assert "rows in 5 groups" in " ".join((run.path / "report.html").read_text().split())
    assert "5 groups" in (run.model / "README.md").read_text()
    recorder = Recorder()
    found = pipeline.evaluate(run.path, [str(tiny_files["test"])], listeners=[recorder])
    assert "groups" not in found["primary"]
    assert any("no column `shop`" in text for text in recorder.warnings)


def test_evaluate_on_other_data(finished_run, tiny_files):
    metrics = pipeline.evaluate(finished_run.path, [str(tiny_files["test"])])
    assert metrics["splits"]["test"] == finished_run.metrics["splits"]["test"]


def test_a_run_of_ours_is_a_base_model_and_keeps_its_head(finished_run, tiny_recipe, tmp_path):
    recipe = with_train(tiny_recipe, tmp_path / "more", max_steps=1, learning_rate=1e-12)
    run = pipeline.train(recipe.model_copy(update={"model": str(finished_run.path)}))
    assert run.metrics["primary"]["value"] == finished_run.metrics["primary"]["value"]
    assert weights(run).keys() == weights(finished_run).keys()


def test_what_is_cut_is_told_or_refused(tiny_recipe, tmp_path):
    recipe = with_train(tiny_recipe, tmp_path / "cut", method="probe").replace(data={"max_length": 6})
    run = pipeline.train(recipe)
    found = json.loads((run.data / "supervision.json").read_text())["train"]
    assert found["max_length"] == 6
    assert 0 < found["rows_cut"] < found["rows"] == 160
    gone, tokens = found["lost"]["tokens"]
    assert 0 < gone < tokens == found["tokens"]
    stop = with_train(tiny_recipe, tmp_path / "stop", method="probe")
    with pytest.raises(DataError, match=r"data.too_long is `stop`, and of the train rows, at max_length 6"):
        pipeline.train(stop.replace(data={"max_length": 6, "too_long": "stop"}))
    assert pipeline.train(
        with_train(tiny_recipe, tmp_path / "whole", method="probe").replace(data={"too_long": "stop"})
    ).is_finished


def test_noisy_copies_are_trained_on_and_nothing_else_is_changed(tiny_recipe, tiny_files, tmp_path):
    recipe = with_train(tiny_recipe, tmp_path / "run", augment={"word_dropout": 0.3, "casing": 0.3})
    run = pipeline.train(recipe.replace(evaluate={"baselines": False}))
    assert run.metrics["train"]["examples"] == 2 * 2 * 160
    truncation = json.loads((run.data / "supervision.json").read_text())
    assert {name: found["rows"] for name, found in truncation.items()} == {
        "train": 320, "validation": 40, "test": 60,
    }  # fmt: skip
    lines = (run.predictions / "test.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == [
        line.split(",")[0] for line in tiny_files["test"].read_text().splitlines()[1:]
    ]
    again = pipeline.train(
        with_train(tiny_recipe, tmp_path / "again", augment={"word_dropout": 0.3, "casing": 0.3}).replace(
            evaluate={"baselines": False}
        )
    )
    assert_same_weights(run, again)


def test_baselines_learn_from_the_rows_as_they_are(tiny_recipe, tmp_path):
    noisy = with_train(tiny_recipe, tmp_path / "noisy", augment={"typos": 0.3}, max_steps=2)
    plain = with_train(tiny_recipe, tmp_path / "plain", max_steps=2)
    name = "tfidf_logistic_regression"
    one, other = (pipeline.train(recipe).metrics["baselines"] for recipe in (noisy, plain))
    assert one[name] == other[name]
    assert one["majority"] == other["majority"]


def test_balanced_weights_help_the_rare_label(tiny_recipe, tmp_path):
    """Nine rows of ten have one label; without weights a probe of a few steps forgets the other."""
    rows = tiny_rows(400, seed=4)
    rare = [row for row in rows if row["label"] == "colour"][:16]
    common = [row for row in rows if row["label"] == "animal"][:144]
    file = write_rows(tmp_path / "train.csv", [*rare, *common])

    def recall(name, **train):
        how = {"head_start": False, "max_steps": 6, "learning_rate": 1e-3, **train}
        recipe = with_train(tiny_recipe, tmp_path / name, **how)
        recipe = recipe.replace(data={"train": [str(file)]}, evaluate={"baselines": False})
        table = pipeline.train(recipe).metrics["details"]["per_class"]
        return table["recall"][table["labels"].index("colour")]

    assert recall("balanced", class_weights="balanced") > recall("plain")


def test_named_parameters_stay_as_they_are(tiny_recipe, tiny_model, tmp_path):
    run = pipeline.train(
        with_train(tiny_recipe, tmp_path / "run", freeze=["*.LayerNorm"], freeze_embeddings=True)
    )
    before, after = load_file(tiny_model / "model.safetensors"), weights(run)
    for name, tensor in before.items():
        if "pooler" not in name:
            still = "LayerNorm" in name or name.startswith("embeddings.")
            assert torch.equal(tensor, after[f"bert.{name}"]) == still, name


def test_going_on_keeps_the_record_of_the_beginning_and_tells_of_changes(tiny_recipe, monkeypatch):
    from tunesmith import environment, pipeline
    from tunesmith.training.loop import _Loop

    def interrupt(loop):
        raise InterruptedRunError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(_Loop, "_step", interrupt)
        with pytest.raises(InterruptedRunError):
            pipeline.train(tiny_recipe)
    run = Run(tiny_recipe.output_dir)
    began = run.manifest()["started"]
    found = environment.machine()
    monkeypatch.setattr(environment, "machine", lambda: {**found, "threads": 77})
    recorder = Recorder()
    pipeline.train(tiny_recipe, listeners=[recorder])
    manifest = run.manifest()
    assert manifest["started"] == began
    assert manifest["machine"] == found
    assert manifest["continued"][0]["machine"]["threads"] == 77
    assert any("the number of threads changed" in text for text in recorder.said)


def test_a_training_in_a_thread_stops_on_request_and_resumes_to_the_same_bits(tiny_recipe, tmp_path):
    calm = pipeline.train(with_train(tiny_recipe, tmp_path / "calm"))
    stopped, stop, raised = with_train(tiny_recipe, tmp_path / "stopped"), threading.Event(), []
    recorder = Recorder()

    def work():
        try:
            pipeline.train(stopped, listeners=[recorder, at_step(7, stop.set)], should_stop=stop.is_set)
        except InterruptedRunError as error:
            raised.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "stopped by request after step 7" in raised[0]
    assert recorder.events[-1] == Failed(raised[0], can_resume=True)
    resumed = pipeline.train(stopped, listeners=[recorder])
    assert recorder.events[-1] == Finished(stopped.output_dir)
    assert_same_weights(calm, resumed)
    kinds = [event["kind"] for event in resumed.events()]
    assert {"stage", "note", "step", "validation", "checkpoint", "failed", "finished"} <= set(kinds)
    steps = [event["step"] for event in resumed.events() if event["kind"] == "step"]
    assert steps == [event["step"] for event in calm.events() if event["kind"] == "step"]
