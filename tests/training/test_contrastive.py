"""Contrastive learning: its loss, and runs by it, which are like any other."""

import json

import numpy as np
import pytest
import torch
import transformers

import tunesmith
from tunesmith import pipeline
from tunesmith.errors import InterruptedRunError, RecipeError
from tunesmith.hooks import Hooks
from tunesmith.pipeline.options import refuse_options_without_effect
from tunesmith.recipe import Recipe
from tunesmith.tasks import TASKS
from tunesmith.training.contrastive import CONTRASTIVE, contrastive_loss, task_to_learn

TASK = TASKS.get("text-classification")


def reference(features, labels, temperature):
    """The sum over anchors of formula 2 of Khosla et al., in loops and float64."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    total = 0.0
    for i in range(len(labels)):
        others = [j for j in range(len(labels)) if j != i]
        same = [j for j in others if labels[j] == labels[i]]
        below = sum(np.exp(unit[i] @ unit[j] / temperature) for j in others)
        if same:
            total -= sum(np.log(np.exp(unit[i] @ unit[j] / temperature) / below) for j in same) / len(same)
    return total


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_the_loss_is_that_of_the_paper(temperature):
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(12, 5)), rng.integers(0, 4, 12)
    labels[0] = 9  # a row alone with its label adds nothing
    ours = contrastive_loss(torch.from_numpy(features).float(), torch.from_numpy(labels), temperature)
    assert float(ours) == pytest.approx(reference(features, labels, temperature), rel=1e-5)


@pytest.mark.parametrize("labels", [[0], [0, 1, 2]])
def test_a_batch_without_pairs_has_no_gradient(labels):
    features = torch.randn(len(labels), 4, requires_grad=True)
    contrastive_loss(features, torch.tensor(labels)).backward()
    assert torch.equal(features.grad, torch.zeros_like(features))


def test_the_task_itself_stays_as_it_is():
    learned = task_to_learn(TASK, CONTRASTIVE)
    assert (learned.compares_rows, TASK.compares_rows) == (True, False)
    assert task_to_learn(TASK, "full") is TASK


@pytest.fixture(scope="module")
def recipe_of(tiny_model, tiny_files):
    def make(output_dir, **train):
        return Recipe.model_validate({
            "model": str(tiny_model),
            "output_dir": str(output_dir),
            "data": {split: [str(path)] for split, path in tiny_files.items()},
            "train": {"method": CONTRASTIVE, "num_train_epochs": 4, "learning_rate": 5e-3,
                      "per_device_train_batch_size": 16, **train},
            "evaluate": {"bootstrap_samples": 200},
        })  # fmt: skip

    return make


@pytest.fixture(scope="module")
def run(recipe_of, tmp_path_factory):
    return pipeline.train(recipe_of(tmp_path_factory.mktemp("contrastive") / "run"))


def test_a_model_whose_layers_are_all_frozen_is_refused(recipe_of, tmp_path):
    with pytest.raises(RecipeError, match="leave nothing to train: `contrastive` trains the layers"):
        pipeline.train(recipe_of(tmp_path / "run", freeze_layers=2))


def test_a_run_by_contrast_is_a_run(run):
    assert run.metrics["primary"]["value"] > 0.9
    assert run.metrics["baselines"]["probe"]["accuracy"] > 0.5  # that of the model before training
    used = run.manifest()["used"]["train"]
    assert (used["method"], used["eval_steps"]) == (CONTRASTIVE, run.metrics["train"]["steps"])
    stock = transformers.pipeline("text-classification", str(run.model))
    texts = ["the cat is red", "old new big blue"]
    ours = tunesmith.load(run.path)(texts)
    theirs = stock(texts)
    assert [it["label"] for it in ours] == [it["label"] for it in theirs]
    assert [it["score"] for it in ours] == pytest.approx([it["score"] for it in theirs], abs=1e-5)


def test_the_body_learns(run, tiny_model):
    from safetensors.torch import load_file

    before, after = load_file(tiny_model / "model.safetensors"), load_file(run.model / "model.safetensors")
    name = "encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(before[name], after[f"bert.{name}"])


def test_a_stopped_run_ends_as_one_that_was_never_stopped(run, recipe_of, tmp_path):
    recipe = recipe_of(tmp_path / "run", save_steps=1)
    asked = []
    with pytest.raises(InterruptedRunError):
        pipeline.train(recipe, should_stop=lambda: asked.append(1) or len(asked) > 5)
    again = pipeline.train(recipe)
    assert (again.model / "model.safetensors").read_bytes() == (run.model / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_memory_changes_passes_and_not_the_result(run, recipe_of, tmp_path):
    """However little memory there is, a row is compared with the whole batch."""
    small = pipeline.train(recipe_of(tmp_path / "run", tokens_per_micro_batch=40))
    losses = [
        next(json.loads(line)["loss"] for line in it.events_file.read_text().splitlines() if '"loss"' in line)
        for it in (run, small)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)  # the masks of dropout are others


@pytest.mark.parametrize("name", ["token-classification", "multi-label-classification", "translation"])
def test_a_task_without_one_label_a_row_refuses_it(name):
    recipe = Recipe.model_validate({"data": {"train": ["a"]}, "train": {"method": CONTRASTIVE}})
    with pytest.raises(RecipeError, match="compares rows by their one label"):
        refuse_options_without_effect(TASKS.get(name), recipe)


def test_an_own_loss_is_refused(recipe_of, tmp_path):
    hooks = Hooks(loss=lambda outputs, batch: 0)
    with pytest.raises(RecipeError, match="`loss` is not for method `contrastive`"):
        pipeline.train(recipe_of(tmp_path / "run"), hooks=hooks)
