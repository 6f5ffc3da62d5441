"""A run as the base of another: the same task goes on, another keeps the body."""

import pytest
import torch
from safetensors.torch import load_file

from tunesmith import pipeline
from tunesmith.recipe import Recipe
from tunesmith.testing.tiny import write_rows

pytestmark = pytest.mark.usefixtures("lean")

ENTITIES = [
    {"text": f"the {word} is near", "entities": [{"start": 4, "end": 4 + len(word), "label": kind}]}
    for word, kind in (("cat", "animal"), ("red", "colour"), ("dog", "animal"), ("blue", "colour"))
    for _ in range(6)
]


def recipe(run, tmp_path, task, data, **train):
    return Recipe.model_validate({
        "task": task,
        "model": str(run.path),
        "output_dir": str(tmp_path / "next"),
        "data": data,
        "train": {"max_steps": 2, "learning_rate": 1e-9, "per_device_train_batch_size": 8, **train},
        "evaluate": {"bootstrap_samples": 100, "baselines": False},
    })  # fmt: skip


@pytest.fixture
def entity_file(tmp_path):
    rows = [{**row, "text": f"{row['text']} {i}"} for i, row in enumerate(ENTITIES)]
    return str(write_rows(tmp_path / "entities.jsonl", rows))


def test_another_task_keeps_the_body_and_leaves_the_pooling_layer(finished_run, tmp_path, entity_file):
    run = pipeline.train(recipe(finished_run, tmp_path, "token-classification", {"train": [entity_file]}))
    before, after = (load_file(r.model / "model.safetensors") for r in (finished_run, run))
    body = [name for name in after if name.startswith("bert.")]
    assert body
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in body)
    assert not any("layer.2." in name for name in after)
    assert run.metrics["task"] == "token-classification"


def test_and_back_again_with_a_pooling_layer(finished_run, tmp_path, entity_file, tiny_files):
    middle = pipeline.train(recipe(finished_run, tmp_path, "token-classification", {"train": [entity_file]}))
    data = {split: [str(path)] for split, path in tiny_files.items()}
    again = recipe(middle, tmp_path, "text-classification", data)
    run = pipeline.train(again.model_copy(update={"output_dir": str(tmp_path / "back")}))
    assert any("layer.2." in name for name in load_file(run.model / "model.safetensors"))


def test_the_same_task_goes_on_with_its_head(finished_run, tmp_path, tiny_files):
    data = {split: [str(path)] for split, path in tiny_files.items()}
    run = pipeline.train(recipe(finished_run, tmp_path, "text-classification", data))
    before, after = (load_file(r.model / "model.safetensors") for r in (finished_run, run))
    assert torch.allclose(before["classifier.weight"], after["classifier.weight"], atol=1e-6)
    assert run.metrics["primary"]["value"] == pytest.approx(finished_run.metrics["primary"]["value"])
