"""A run of one device is used on the other: predictions, generated texts, vectors, exports."""

import json

import numpy as np
import pytest
import torch

from tunesmith import exporting, pipeline
from tunesmith.inference.predictor import Predictor

CLOSE = 1e-4
"""Absolute difference between probabilities, and between vectors, of both devices in float32."""


def answers_on_cpu(command, run, tmp_path):
    output = tmp_path / "answers.jsonl"
    command("predict", run.path, "--data", tmp_path / "test.jsonl", "--output", output)
    return [json.loads(line) for line in output.read_text().splitlines()]


@pytest.fixture(params=["gpu", "cpu"])
def trained(request, train_on_cpu):
    return pipeline.train if request.param == "gpu" else train_on_cpu


@pytest.mark.parametrize("task", ["text-classification", "token-classification", "text-regression"])
def test_both_devices_answer_alike(recipe_of, trained, command, tmp_path, task):
    run = trained(recipe_of(task, "run", max_steps=40))
    predictor = Predictor.from_run(run.path)
    assert next(predictor.model.parameters()).is_cuda
    here, there = predictor(tmp_path / "test.jsonl"), answers_on_cpu(command, run, tmp_path)
    assert len(here) == len(there) == 20
    assert all(alike(one, {key: other[key] for key in one}) for one, other in zip(here, there, strict=True))


def alike(one, other):
    """Whether two trees of JSON are equal but for the last digits of numbers."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return abs(one - other) < CLOSE * max(1, abs(other)) if isinstance(one, float) else one == other


@pytest.mark.parametrize("task", ["text-generation", "chat", "summarization"])
def test_both_devices_write_the_same_texts(recipe_of, command, tmp_path, task):
    run = pipeline.train(recipe_of(task, "run", max_steps=60))
    here = Predictor.from_run(run.path)(tmp_path / "test.jsonl")
    there = answers_on_cpu(command, run, tmp_path)
    same = sum(one == {key: other[key] for key in one} for one, other in zip(here, there, strict=True))
    assert same >= 19, "of 20; two scores may be nearly equal"


def test_vectors(recipe_of, command, tmp_path):
    run = pipeline.train(recipe_of("text-similarity", "run"))
    texts = tmp_path / "texts.csv"
    texts.write_text("text\n" + "\n".join(f"the {word} cat is here" for word in ("red", "old", "big")) + "\n")
    command("embed", run.path, "--data", texts, "--output", tmp_path / "cpu.npy")
    command("embed", run.path, "--data", texts, "--output", tmp_path / "gpu.npy", device="gpu")
    one, other = np.load(tmp_path / "gpu.npy"), np.load(tmp_path / "cpu.npy")
    assert np.abs(one - other).max() < CLOSE


@pytest.mark.parametrize("to", ["onnx", "onnx-int8", "bf16", "merged"])
def test_exports_of_a_run(recipe_of, tmp_path, to):
    if to.startswith("onnx"):
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    run = pipeline.train(recipe_of("text-classification", "run", dropout=0.1, max_steps=60))
    facts = exporting.export(str(run.path), to)
    assert facts["check"]["agreement"] >= 0.9
    run_answers = Predictor.from_run(run.path)(tmp_path / "test.jsonl")
    export_answers = Predictor.from_run(facts["path"])(tmp_path / "test.jsonl")
    same = sum(one["label"] == other["label"] for one, other in zip(run_answers, export_answers, strict=True))
    assert same >= 18


def test_an_adapter_is_exported_and_answers_on_the_cpu(recipe_of, command, tmp_path):
    run = pipeline.train(recipe_of("text-classification", "run", method="lora", max_steps=40))
    here = Predictor.from_run(run.path)(tmp_path / "test.jsonl")
    there = answers_on_cpu(command, run, tmp_path)
    assert all(alike(one, {key: other[key] for key in one}) for one, other in zip(here, there, strict=True))


def test_the_environment_names_the_device(command):
    machine = json.loads(command("env", "--json", device="gpu"))["machine"]
    assert machine["device"] == torch.cuda.get_device_name(0)
    assert machine["bf16"] is torch.cuda.is_bf16_supported(including_emulation=False)
    assert json.loads(command("env", "--json"))["machine"]["device"] == "cpu"
