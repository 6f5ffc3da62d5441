"""Hooks by their names: what a run records of them, and which ones it resumes with."""

import functools
import json

import pytest
import torch
from transformers import EarlyStoppingCallback

from tunesmith import pipeline
from tunesmith.errors import InterruptedRunError, RunError
from tunesmith.hooks import Hooks, differences, identity
from tunesmith.testing.listeners import Recorder

pytestmark = pytest.mark.usefixtures("lean")


def summed(outputs, batch):
    return torch.nn.functional.cross_entropy(outputs, batch["labels"], reduction="sum")


def focal(gamma):
    def loss(outputs, batch, floor=1e-6):
        return summed(outputs, batch) ** gamma

    return loss


def test_an_identity_is_a_name_a_source_and_plain_values():
    assert identity(summed)["name"] == f"{__name__}.summed"
    assert len(identity(summed)["sha256"]) == 64
    assert identity(focal(2.0))["arguments"] == {"gamma": "2.0", "floor": "1e-06"}
    assert identity(focal(2.0)) != identity(focal(3.0))
    partial = identity(functools.partial(torch.optim.SGD, momentum=0.9))
    assert partial == {"name": "torch.optim.sgd.SGD", "arguments": {"momentum": "0.9"}}
    assert identity(EarlyStoppingCallback(3))["arguments"]["early_stopping_patience"] == "3"
    json.dumps(Hooks(callbacks=[EarlyStoppingCallback], loss=focal(2.0)).describe())


def test_an_identity_is_the_same_before_and_after_use():
    callback = EarlyStoppingCallback(3)
    before = identity(callback)
    callback.early_stopping_patience_counter = 2
    assert identity(callback) == before


def test_differences_are_named():
    then = Hooks(loss=summed, optimizer=torch.optim.SGD).describe()
    now = Hooks(loss=focal(2.0), scheduler=lambda step, total: 1.0).describe()
    name = f"{__name__}."
    assert differences(then, now) == [
        f"`loss` is `{name}focal.<locals>.loss` instead of `{name}summed`",
        "`optimizer=torch.optim.sgd.SGD` is not given",
        f"`scheduler={name}test_differences_are_named.<locals>.<lambda>` was not given before",
    ]
    one, other = (Hooks(loss=focal(gamma)).describe() for gamma in (1.0, 2.0))
    assert differences(one, other) == [f"the arguments of `loss={name}focal.<locals>.loss` have changed"]
    changed = {"loss": {**one["loss"], "sha256": "0" * 64}}
    assert differences(one, changed) == [f"the source of `loss={name}focal.<locals>.loss` has changed"]
    assert differences(then, then) == []


@pytest.fixture
def stopped(tiny_recipe):
    recipe = tiny_recipe.replace(
        train={"max_steps": 4, "num_train_epochs": "auto"}, evaluate={"baselines": False}
    )
    asked = iter([False, True])
    with pytest.raises(InterruptedRunError):
        pipeline.train(recipe, hooks=Hooks(loss=summed), should_stop=lambda: next(asked))
    return recipe


def test_a_run_resumes_with_the_same_hooks_alone(stopped, tunesmith, tmp_path):
    with pytest.raises(
        RunError, match=r"was trained with loss=.*summed, and now `loss=.*summed` is not given"
    ):
        pipeline.train(stopped)
    with pytest.raises(RunError, match=r"and now `loss` is `.*focal"):
        pipeline.train(stopped, hooks=Hooks(loss=focal(2.0)))
    done = tunesmith("train", f"{stopped.output_dir}/recipe.yaml")
    assert done.code == 2
    assert "was trained with loss=" in done.err
    assert "the command line cannot" in " ".join(done.err.split())
    assert (tmp_path / "run" / "recipe.yaml").read_text().startswith("# Trained with loss=")
    recorder = Recorder()
    run = pipeline.train(stopped, hooks=Hooks(loss=summed), listeners=[recorder])
    assert run.is_finished
    assert run.manifest()["hooks"]["loss"]["name"] == f"{__name__}.summed"
    with pytest.raises(RunError, match="is not given"):
        pipeline.train(stopped)


def test_a_run_without_hooks_does_not_resume_with_some(tiny_recipe):
    recipe = tiny_recipe.replace(
        train={"max_steps": 4, "num_train_epochs": "auto"}, evaluate={"baselines": False}
    )
    with pytest.raises(InterruptedRunError):
        pipeline.train(recipe, should_stop=lambda: True)
    with pytest.raises(
        RunError, match=r"was trained without hooks, and now `loss=.*summed` was not given before"
    ):
        pipeline.train(recipe, hooks=Hooks(loss=summed))


def test_what_a_run_depends_on_is_said_at_its_begin(tiny_recipe):
    recorder = Recorder()
    recipe = tiny_recipe.replace(
        train={"max_steps": 1, "num_train_epochs": "auto"}, evaluate={"baselines": False}
    )
    pipeline.train(recipe, hooks=Hooks(loss=summed), listeners=[recorder])
    assert any("recipe.yaml alone does not make it again" in line for line in recorder.said)
