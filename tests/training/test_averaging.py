"""The average of the last weights: what it is, when it is kept, and that a run resumes with it."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tunesmith import pipeline
from tunesmith.errors import InterruptedRunError
from tunesmith.events import Note
from tunesmith.hooks import Hooks
from tunesmith.tasks import TASKS
from tunesmith.training.averaging import WeightAverage, without_average

pytestmark = pytest.mark.usefixtures("lean")


def test_it_is_the_mean_of_the_last_weights():
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(20, 3, 2)).astype(np.float32)
    weight = torch.nn.Parameter(torch.zeros(3, 2))
    average = WeightAverage({"w": weight}, 0.25, 20)
    for number, values in enumerate(steps, start=1):
        weight.data.copy_(torch.from_numpy(values))
        average.add(number)
    assert average.count == 5
    average.swap()
    assert np.allclose(weight.detach().numpy(), steps[-5:].astype(np.float64).mean(0), atol=1e-6)
    average.swap()
    assert np.array_equal(weight.detach().numpy(), steps[-1])


def test_it_continues_from_a_checkpoint():
    weight = torch.nn.Parameter(torch.ones(2))
    one, other = WeightAverage({"w": weight}, 0.5, 4), WeightAverage({"w": weight}, 0.5, 4)
    one.add(3)
    other.load(one.tensors())
    weight.data.fill_(2.0)
    one.add(4)
    other.add(4)
    assert all(
        torch.equal(a, b) for a, b in zip(one.tensors().values(), other.tensors().values(), strict=True)
    )
    assert without_average({**one.tensors(), "w/exp_avg": weight}) == {"w/exp_avg": weight}
    assert WeightAverage({"w": weight}, 0.0, 4).tensors() == {}


class Weights:
    """Keeps the head's weights after every step."""

    def __init__(self):
        self.seen = []

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.seen.append(model.classifier.weight.detach().clone())


def averaged(recipe, monkeypatch, scores, **how):
    """A training whose validations have these scores, the last one being that of the average."""
    given = iter(scores)
    monkeypatch.setattr(
        type(TASKS.get("text-classification")), "validation_scores", lambda *_: {"accuracy": next(given)}
    )
    own = recipe.replace(
        data={"check": "off"},
        train={"max_steps": 8, "eval_steps": 4, "average_last": 0.5, **how},
        evaluate={"baselines": False, "calibration": "none"},
    )
    notes, watch = [], Weights()
    run = pipeline.train(
        own,
        listeners=[lambda event: notes.append(event.text) if isinstance(event, Note) else None],
        hooks=Hooks(callbacks=(watch,)),
    )
    said = [note for note in notes if note.startswith("the average of the weights")]
    return run, load_file(run.model / "model.safetensors")["classifier.weight"], watch.seen, said


def test_the_better_average_becomes_the_model(tiny_recipe, monkeypatch):
    run, saved, seen, said = averaged(tiny_recipe, monkeypatch, (0.5, 0.6, 0.7))
    assert torch.allclose(saved, torch.stack(seen[-4:]).mean(0), atol=1e-6)
    assert said == ["the average of the weights of the last 4 steps: accuracy 0.7000, kept"]
    train = run.metrics["train"]
    assert (train["steps"], train["best_step"]) == (8, 9)
    assert train["history"][-1] == {"step": 9, "accuracy": 0.7, "averaged_steps": 4}


def test_an_average_that_is_not_better_is_left(tiny_recipe, monkeypatch):
    run, saved, seen, said = averaged(tiny_recipe, monkeypatch, (0.5, 0.6, 0.6))
    assert torch.equal(saved, seen[-1])
    assert said == [
        "the average of the weights of the last 4 steps: accuracy 0.6000, not better than the best step"
    ]
    assert (run.metrics["train"]["steps"], run.metrics["train"]["best_step"]) == (8, 8)


@pytest.mark.parametrize("after", [3, 6, 8])
def test_a_run_that_was_stopped_has_the_same_average(after, tiny_recipe, tmp_path):
    recipe = tiny_recipe.replace(
        train={"max_steps": 8, "average_last": 0.6}, evaluate={"baselines": False}, data={"check": "off"}
    )
    whole = pipeline.train(recipe.model_copy(update={"output_dir": str(tmp_path / "whole")}))
    asked = []

    def stop():
        asked.append(1)
        return len(asked) == after

    with pytest.raises(InterruptedRunError):
        pipeline.train(recipe, should_stop=stop)
    again = pipeline.train(recipe)
    assert again.metrics["train"]["history"] == whole.metrics["train"]["history"]
    one, other = (load_file(run.model / "model.safetensors") for run in (whole, again))
    assert all(torch.equal(one[name], other[name]) for name in one)
